// Package sdk runs test/clients/go, the real nacos-sdk-go behind a command line, as processes of a test, and reads what
// they say. What the commands and events mean is in that module's README.md.
package sdk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Build builds the client from the folder of its module into a file.
func Build(module, file string) error {
	out, err := exec.Command("go", "build", "-C", module, "-o", file, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the client in %s: %w\n%s", module, err, out)
	}
	return nil
}

// Event is one line that a client says.
type Event struct {
	Event     string     `json:"event"`
	MS        int64      `json:"ms"`
	Time      time.Time  `json:"time"`
	ID        string     `json:"id"`
	OK        *bool      `json:"ok"`
	Error     string     `json:"error"`
	Client    int        `json:"client"`
	Service   string     `json:"service"`
	Count     *int       `json:"count"`
	Healthy   *int       `json:"healthy"`
	Connected *bool      `json:"connected"`
	Server    string     `json:"server"`
	Delay     *int64     `json:"delay_ms"`
	Instances []Instance `json:"instances"`
	Names     []string   `json:"names"`

	// Line is the event as it was written.
	Line string `json:"-"`
}

// Instance is one of a list, or of what a client registers.
type Instance struct {
	Address, Cluster string
	Weight           float64
	Healthy          bool
	Metadata         map[string]string
}

// Has reports a list of exactly these addresses.
func (e Event) Has(addresses ...string) bool {
	if e.Event != "list" || len(e.Instances) != len(addresses) {
		return false
	}
	for _, in := range e.Instances {
		if !slices.Contains(addresses, in.Address) {
			return false
		}
	}
	return true
}

// Options say how a client runs.
type Options struct {
	Binary string
	Args   []string
	// Start starts the process; nil = here and now.
	Start func(*exec.Cmd) error
	// Errors takes what the client says about itself; nil = nobody.
	Errors io.Writer
	// On is told every event first, and in order; those for which it returns true are not kept.
	On func(Event) bool
}

// Client is a process. Its methods may be called from any goroutine.
type Client struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	on   func(Event) bool
	read sync.WaitGroup

	mu      sync.Mutex // guards all below
	ids     int
	events  []Event
	taken   int           // events that Next has passed
	arrived chan struct{} // closed with each event
	ended   bool
}

// Start runs a client and waits until it is ready.
func Start(ctx context.Context, o Options) (*Client, error) {
	c := &Client{cmd: exec.Command(o.Binary, o.Args...), on: o.On, arrived: make(chan struct{})}
	c.cmd.Stderr = o.Errors
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if o.Start == nil {
		o.Start = (*exec.Cmd).Start
	}
	if err := o.Start(c.cmd); err != nil {
		return nil, fmt.Errorf("start the client: %w", err)
	}
	c.read.Go(func() { c.follow(out) })
	if _, err := c.Next(ctx, func(e Event) bool { return e.Event == "ready" }); err != nil {
		c.Kill()
		return nil, fmt.Errorf("wait for the client's start: %w", err)
	}
	return c, nil
}

func (c *Client) follow(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		e := Event{Line: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e.Event = "unreadable"
		}
		c.put(e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.arrived)
}

func (c *Client) put(e Event) {
	if c.on != nil && c.on(e) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
	close(c.arrived)
	c.arrived = make(chan struct{})
}

// Do performs a command, the JSON object of README.md as a map, and waits until it is done.
func (c *Client) Do(ctx context.Context, command map[string]any) error {
	c.mu.Lock()
	c.ids++
	id := "do-" + strconv.Itoa(c.ids)
	c.mu.Unlock()
	with := map[string]any{"id": id}
	for k, v := range command {
		with[k] = v
	}
	line, err := json.Marshal(with)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("command a client: %w", err)
	}
	e, err := c.wait(ctx, false, func(e Event) bool { return e.Event == "done" && e.ID == with["id"] })
	switch {
	case err != nil:
		return fmt.Errorf("wait for the end of %s: %w", line, err)
	case e.OK == nil || !*e.OK:
		return fmt.Errorf("%s: %s", line, e.Error)
	}
	return nil
}

// Next returns the first event that fits after the one that it returned last.
func (c *Client) Next(ctx context.Context, fits func(Event) bool) (Event, error) {
	return c.wait(ctx, true, fits)
}

var errEnded = errors.New("the client has ended")

func (c *Client) wait(ctx context.Context, take bool, fits func(Event) bool) (Event, error) {
	from := 0
	for {
		c.mu.Lock()
		if take {
			from = max(from, c.taken)
		}
		arrived, ended := c.arrived, c.ended
		for ; from < len(c.events); from++ {
			if e := c.events[from]; fits(e) {
				if take {
					c.taken = from + 1
				}
				c.mu.Unlock()
				return e, nil
			}
		}
		c.mu.Unlock()
		if ended {
			return Event{}, errEnded
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Count counts the events that fit and were kept.
func (c *Client) Count(fits func(Event) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.events {
		if fits(e) {
			n++
		}
	}
	return n
}

// Events are those that were kept.
func (c *Client) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// Process is the client's, for signals.
func (c *Client) Process() *os.Process { return c.cmd.Process }

// Kill ends the process as kill -9 does, and waits for its end.
func (c *Client) Kill() {
	_ = c.cmd.Process.Kill() // it has ended by itself otherwise
	c.reap()
}

// Close ends it as people do, and waits for its end: a provider deregisters.
func (c *Client) Close() {
	_ = c.in.Close()                          // what obeys ends with its input
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // all else with this
	c.reap()
}

func (c *Client) reap() {
	c.read.Wait()
	_ = c.cmd.Wait() // it was told to end, how does not matter
}
