package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

// levels of the SDK's log, in rising gravity.
var levels = map[string]int{"debug": 0, "info": 1, "warn": 2, "error": 3, "off": 4}

// sdkLogger takes the SDK's log. It keeps the SDK from writing files, for which pods may have no place, and reads from
// it when connections come and go, and what is about to be registered, for the first time or by the SDK's own redo: the SDK
// tells that to nobody else.
type sdkLogger struct {
	from   int
	log    *log.Logger
	events *events

	mu       sync.Mutex // guards all below
	creating int        // the client that is being made
	clients  map[string]int
	lost     map[string]bool // by connection id: a loss may be logged twice
}

func newLogger(level string, w io.Writer, e *events) *sdkLogger {
	return &sdkLogger{
		from: levels[level], log: log.New(w, "sdk: ", log.Ltime|log.Lmicroseconds), events: e,
		clients: map[string]int{}, lost: map[string]bool{},
	}
}

// create says which client the SDK is about to make.
func (l *sdkLogger) create(client int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.creating = client
}

// What the SDK (2.3.5) logs about its connections and registrations, and what the arguments are.
const (
	logStarting  = "[RpcClient.Start] %s try to connect to server on start up" // client, server
	logConnected = "%s success to connect"                                     // client, server, connection id
	logStreamEnd = "connectionId %s request stream"                            // connection id
	logUnhealthy = "%s server healthy check fail, currentConnection="          // client, connection id
	logUnregist  = "Connection is unregistered, switch server, connectionId="  // connection id, request
	logOne       = "register instance namespaceId"                             // namespace, service, JSON of the instance
	logBatch     = "batch register instance namespaceId"                       // namespace, service, JSON of the instances
)

// follow tells of connections that came or went, and of registrations.
func (l *sdkLogger) follow(format string, args []any) {
	text := func(i int) string {
		if i < len(args) {
			return fmt.Sprintf("%v", args[i])
		}
		return ""
	}
	switch {
	case strings.HasPrefix(format, logStarting):
		l.mu.Lock()
		l.clients[text(0)] = l.creating
		l.mu.Unlock()
	case strings.HasPrefix(format, logConnected):
		l.mu.Lock()
		client, known := l.clients[text(0)]
		l.mu.Unlock()
		if !known || client < 0 { // what asks for the mode query has a connection of its own
			return
		}
		l.events.emit(event{Event: "connection", Client: &client, Connected: ptr(true), Server: serverOf(text(1)), Connection: text(2)})
	case strings.HasPrefix(format, logStreamEnd):
		l.gone(text(0), fmt.Sprintf(format, args...))
	case strings.HasPrefix(format, logUnhealthy):
		l.gone(text(1), fmt.Sprintf(format, args...))
	case strings.HasPrefix(format, logUnregist):
		l.gone(text(0), fmt.Sprintf(format, args...))
	case strings.HasPrefix(format, logOne):
		l.registering(text(1), "["+text(2)+"]")
	case strings.HasPrefix(format, logBatch):
		l.registering(text(1), text(2))
	}
}

func (l *sdkLogger) gone(connection, why string) {
	l.mu.Lock()
	again := l.lost[connection]
	l.lost[connection] = true
	l.mu.Unlock()
	if !again {
		l.events.emit(event{Event: "connection", Connected: ptr(false), Connection: connection, Error: why})
	}
}

func (l *sdkLogger) registering(service, list string) {
	var hosts []model.Instance
	err := json.Unmarshal([]byte(list), &hosts)
	ev, _ := listed(service, hosts, time.Now(), nil)
	ev.Event, ev.DelayMS = "registering", nil
	if err != nil {
		ev.Error = fmt.Sprintf("what the SDK logs is no list of instances: %v", err)
	}
	l.events.emit(ev)
}

// serverOf makes host:port of how fmt writes the SDK's {host port grpc-port}.
func serverOf(s string) string {
	parts := strings.Fields(strings.Trim(s, "{}"))
	if len(parts) < 2 {
		return s
	}
	return parts[0] + ":" + parts[1]
}

func (l *sdkLogger) print(level int, text string) {
	if level >= l.from {
		l.log.Print(text)
	}
}

func (l *sdkLogger) printf(level int, format string, args []any) {
	l.follow(format, args)
	if level >= l.from {
		l.log.Printf(format, args...)
	}
}

// The SDK's logger.Logger.

func (l *sdkLogger) Debug(args ...any) { l.print(0, fmt.Sprint(args...)) }
func (l *sdkLogger) Info(args ...any)  { l.print(1, fmt.Sprint(args...)) }
func (l *sdkLogger) Warn(args ...any)  { l.print(2, fmt.Sprint(args...)) }
func (l *sdkLogger) Error(args ...any) { l.print(3, fmt.Sprint(args...)) }

func (l *sdkLogger) Debugf(format string, args ...any) { l.printf(0, format, args) }
func (l *sdkLogger) Infof(format string, args ...any)  { l.printf(1, format, args) }
func (l *sdkLogger) Warnf(format string, args ...any)  { l.printf(2, format, args) }
func (l *sdkLogger) Errorf(format string, args ...any) { l.printf(3, format, args) }

func (l *sdkLogger) Close() error { return nil }
