package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client/naming_cache"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client/naming_proxy"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/http_agent"
	"github.com/nacos-group/nacos-sdk-go/v2/common/logger"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

const (
	// registeredAt is the metadata key under which a provider says when it registered, in ms since 1970.
	registeredAt = "muster.registered-at"
	retryEvery   = 500 * time.Millisecond
)

// driver owns the SDK clients.
type driver struct {
	opts    *options
	events  *events
	clients []naming_client.INamingClient
	log     *sdkLogger
	dir     string
	asker   naming_proxy.INamingProxy // nil until somebody asks
	cleanup []func()

	mu            sync.Mutex // guards all below
	subscriptions map[string]*vo.SubscribeParam
	ports         map[int]bool
}

func newDriver(o *options, e *events, errs io.Writer) (*driver, error) {
	d := &driver{
		opts: o, events: e, log: newLogger(o.logLevel, errs, e), dir: o.dir,
		subscriptions: map[string]*vo.SubscribeParam{}, ports: map[int]bool{},
	}
	logger.SetLogger(d.log) // one a process; set before the first client, which would open a file for its own
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "muster-client-")
		if err != nil {
			dir = os.DevNull // a pod without a place to write: the SDK only logs that it keeps nothing
		}
		d.dir = dir
		d.cleanup = append(d.cleanup, func() {
			if err == nil {
				_ = os.RemoveAll(dir)
			}
		})
	}
	for i := range o.clients {
		d.log.create(i)
		config := d.config()
		c, err := clients.NewNamingClient(vo.NacosClientParam{ServerConfigs: o.servers, ClientConfig: &config})
		if err != nil {
			return nil, fmt.Errorf("SDK client %d: %w", i, err)
		}
		d.clients = append(d.clients, c)
	}
	e.emit(event{Event: "ready", Count: ptr(o.clients)})
	return d, nil
}

func (d *driver) config() constant.ClientConfig {
	o := d.opts
	return constant.ClientConfig{
		NamespaceId: o.namespace, TimeoutMs: o.timeoutMs, Username: o.username, Password: o.password,
		AppName: "muster-client", CacheDir: d.dir, LogDir: d.dir, NotLoadCacheAtStart: true,
		// An empty list is told too: that there was none is what tests want to see.
		UpdateCacheWhenEmpty: true,
	}
}

// ask sends a ServiceQueryRequest, which the SDK's client never does: its GetService subscribes, or reads what it has
// been told. The request goes out by the SDK's own layer below that, over a connection of its own.
func (d *driver) ask(service, group string) (*model.Service, error) {
	if d.asker == nil {
		d.log.create(-1)
		config := d.config()
		holder := naming_cache.NewServiceInfoHolder(config.NamespaceId, d.dir, true, true)
		ctx, cancel := context.WithCancel(context.Background())
		proxy, err := naming_client.NewNamingProxyDelegate(ctx, config, d.opts.servers, &http_agent.HttpAgent{}, holder)
		if err != nil {
			cancel()
			return nil, err
		}
		d.asker = proxy
		d.cleanup = append(d.cleanup, func() { proxy.CloseClient(); cancel() })
	}
	return d.asker.QueryInstancesOfService(service, group, "", 0, false)
}

func (d *driver) close() {
	for _, c := range d.clients {
		c.CloseClient()
	}
	for _, f := range d.cleanup {
		f()
	}
}

// names are the services that the flags speak of.
func (o *options) names() []string {
	if o.services == 1 {
		return []string{o.service}
	}
	names := make([]string, o.services)
	for i := range names {
		names[i] = o.service + "-" + strconv.Itoa(i)
	}
	return names
}

// provide registers, again and again until each service was accepted once, and stays. After that the SDK's own redo is
// all that keeps it registered: that is what is to be seen.
func (d *driver) provide(ctx context.Context) error {
	for s, name := range d.opts.names() {
		cmd := command{Do: "register", Service: name, Port: d.opts.port + s*d.opts.instances}
		for d.perform(cmd) != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(retryEvery):
			}
		}
	}
	d.events.emit(event{Event: "registered", Count: ptr(d.opts.services * d.opts.instances)})
	<-ctx.Done()
	if d.opts.onExit == "close" {
		return nil
	}
	for _, name := range d.opts.names() {
		_ = d.perform(command{Do: "deregister", Service: name}) // its event says it
	}
	return nil
}

func (d *driver) consume(ctx context.Context) error {
	for _, name := range d.opts.names() {
		for client := range d.clients {
			for d.perform(command{Do: "subscribe", Service: name, Client: &client}) != nil {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(retryEvery):
				}
			}
		}
	}
	d.events.emit(event{Event: "subscribed", Count: ptr(d.opts.services * len(d.clients))})
	<-ctx.Done()
	return nil
}

// once performs a command for each service (list: for the group) and fails when one fails.
func (d *driver) once(cmd command) error {
	names := d.opts.names()
	if cmd.Do == "list" {
		names = names[:1]
	}
	for _, name := range names {
		cmd.Service = name
		if err := d.perform(cmd); err != nil {
			return err
		}
	}
	return nil
}

// open accepts connections on a port, so that a probe of the instance finds somebody.
func (d *driver) open(ip string, port int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ports[port] {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	d.ports[port] = true
	d.cleanup = append(d.cleanup, func() { _ = l.Close() })
	go func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return nil
}

func address(ip string, port uint64) string {
	return net.JoinHostPort(ip, strconv.FormatUint(port, 10))
}

// since is how long ago an instance says that it was registered.
func since(metadata map[string]string, now time.Time) (int64, bool) {
	at, err := strconv.ParseInt(metadata[registeredAt], 10, 64)
	return now.UnixMilli() - at, err == nil
}
