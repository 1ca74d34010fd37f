package sim

import (
	"fmt"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/session"
)

// Redo is how a client brings its registrations back after a reconnect (nacos-protocol §3.4).
type Redo int

// The real clients.
const (
	RedoGo     Redo = iota // once, at once; it closes before it redoes
	RedoJava               // every 3 s what is not confirmed
	RedoPython             // a loop of 30 s
	RedoBeats              // an HTTP client: registers, then beats every 5 s at any member
)

var agents = map[Redo]string{
	RedoGo: "Nacos-Go-Client:v2.3.5", RedoJava: "Nacos-Java-Client:v3.0.0",
	RedoPython: "Nacos-Python-Client:v3.2.0", RedoBeats: "Nacos-Java-Client:v1.4.0",
}

// Client is one process of a service.
type Client struct {
	w       *World
	id      int
	redo    Redo
	ip      string
	alive   bool
	listens bool // its port accepts connections
	vanish  bool // when it dies its whole host is gone: nobody refuses
	want    map[model.ServiceKey]bool
	done    map[model.ServiceKey]bool
	weight  float64
	// at is where a script wants it; nil: anywhere.
	at *Node
	// registrations counts those by HTTP: a storm is more than were wanted (P14).
	registrations int
	// shown is the weight that was last confirmed.
	shown map[model.ServiceKey]float64

	// beating: a beat waits for its answer. The next one is sent when that has come.
	beating int

	// a connection client
	node *Node
	life int
	conn string
	out  *push.Conn
	rung bool // out has something to pull
	gen  int
	// closing: connections that end once a frozen node wakes
	stale []staleConn
}

type staleConn struct {
	node *Node
	life int
	conn string
}

// AddClient starts a client that publishes the services.
func (w *World) AddClient(redo Redo, services ...model.ServiceKey) *Client {
	i := len(w.clients)
	c := &Client{
		w: w, id: i, redo: redo, ip: fmt.Sprintf("10.1.%d.%d", i/250, i%250+1), alive: true, weight: 1,
		listens: w.rng.IntN(10) > 0, vanish: w.rng.IntN(4) == 0,
		want: map[model.ServiceKey]bool{}, done: map[model.ServiceKey]bool{},
		shown: map[model.ServiceKey]float64{},
	}
	for _, k := range services {
		c.want[k] = true
	}
	w.clients = append(w.clients, c)
	w.After(0, c.start)
	return c
}

func (c *Client) start() {
	if c.redo == RedoBeats {
		c.w.Every(c.w.Between(0, time.Second), 5*time.Second, func() bool { c.beatAll(); return c.alive })
		return
	}
	c.connect()
	interval := map[Redo]time.Duration{RedoGo: time.Hour, RedoJava: 3 * time.Second, RedoPython: 30 * time.Second}[c.redo]
	c.w.Every(c.w.Between(0, interval), interval, func() bool {
		if c.alive && c.redo != RedoGo {
			c.publish()
		}
		return c.alive
	})
	c.w.Every(c.w.Between(0, 5*time.Second), 5*time.Second, func() bool { c.healthCheck(); return c.alive })
}

func (c *Client) client() model.Client {
	return model.Client{IP: c.ip, Agent: agents[c.redo], App: "sim"}
}

// Instance is what it publishes.
func (c *Client) Instance() model.Instance {
	return model.Instance{IP: c.ip, Port: 8080, Cluster: "DEFAULT", Weight: c.weight, Healthy: true, Enabled: true}
}

// setUpAfter is how much later than its look at a member a client may make the connection.
const setUpAfter = 200 * time.Millisecond

// pick is where a load balancer sends it: a node that is ready, now and then one that is so no more.
func (c *Client) pick() *Node {
	var ready []*Node
	for _, n := range c.w.nodes {
		if c.at != nil && c.at != n || n.m == nil || n.frozen && (!c.listens || c.w.now-n.frozenAt > 5*time.Second) {
			continue
		}
		looked := n.leaving && c.w.now-n.drained < setUpAfter // just before
		if ok, _ := n.m.Ready(); ok || looked {
			ready = append(ready, n)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	return ready[c.w.rng.IntN(len(ready))]
}

// connect is tried until it works.
func (c *Client) connect() {
	if !c.alive || c.node != nil {
		return
	}
	c.gen++
	gen := c.gen
	again := func(d time.Duration) {
		c.w.After(d, func() {
			if c.gen == gen {
				c.connect()
			}
		})
	}
	n := c.pick()
	switch {
	case n == nil:
		again(500 * time.Millisecond)
		return
	case n.frozen:
		again(3 * time.Second)
		return
	}
	if lag := n.lag(); lag > 0 {
		again(lag + 3*time.Second) // its process may end before
	}
	n.soon(func() {
		if c.gen == gen && c.alive {
			c.setUp(n)
		}
	})
}

// setUp makes the connection.
func (c *Client) setUp(n *Node) {
	gen := c.gen
	c.conn = fmt.Sprintf("c%d-%d", c.id, gen)
	out := n.m.Connect(member.Connection{ID: c.conn, Client: c.client(), Naming: true})
	c.node, c.life, c.out = n, n.life, out
	out.OnWake(func() { c.rung = c.rung || c.out == out })
	first := len(c.done) == 0
	clear(c.done)
	c.w.Logf("client %d connects to %s", c.id, n.Name)
	if c.redo == RedoGo || first {
		c.w.After(100*time.Millisecond, func() {
			if c.gen == gen {
				c.publish()
			}
		})
	}
}

// publish sends what is not confirmed; a frozen node reads it when it wakes.
func (c *Client) publish() {
	if c.node == nil {
		return
	}
	if !c.node.Up() {
		gen := c.gen
		c.w.After(100*time.Millisecond, func() {
			if c.gen == gen && c.alive {
				c.publish()
			}
		})
		return
	}
	n, conn := c.node, c.conn
	n.soon(func() {
		if c.node == n && c.conn == conn && c.alive {
			c.publishAll(n)
		}
	})
}

func (c *Client) publishAll(n *Node) {
	for _, k := range c.w.services() {
		if !c.want[k] || c.done[k] {
			continue
		}
		n.m.Touch(c.conn)
		if err := n.m.Publish(c.conn, k, []model.Instance{c.Instance()}); err == nil {
			c.done[k], c.shown[k] = true, c.weight
			c.w.truth.registered(n, c, k)
		}
	}
}

// Change publishes another weight.
func (c *Client) Change() {
	c.weight++
	clear(c.done)
	if c.redo == RedoBeats {
		return
	}
	c.publish()
}

// Deregister withdraws a service.
func (c *Client) Deregister(k model.ServiceKey) {
	if !c.want[k] {
		return
	}
	delete(c.want, k)
	if c.redo == RedoBeats {
		if n := c.pick(); n != nil && n.Up() {
			n.soon(func() {
				if !c.want[k] { // else an order that was not read in time would win over what came after it elsewhere: protocol 1.x dates none
					_ = n.m.DeregisterInstance(k, c.Instance().Key())
				}
			})
		}
	} else if c.node != nil {
		c.withdraw(c.conn, k)
	}
	c.w.Logf("client %d deregisters %s", c.id, k.Name)
	delete(c.done, k)
	c.w.truth.gone(c, k)
}

// withdraw sends the request; a frozen node reads it when it wakes.
func (c *Client) withdraw(conn string, k model.ServiceKey) {
	switch {
	case c.node == nil || c.conn != conn || c.want[k]:
	case !c.node.Up():
		c.w.After(100*time.Millisecond, func() { c.withdraw(conn, k) })
	default:
		n := c.node
		n.soon(func() {
			n.m.Touch(conn)
			_ = n.m.Withdraw(conn, k)
		})
	}
}

// Die ends the process, as kill -9 does: its connection closes.
func (c *Client) Die() {
	if !c.alive {
		return
	}
	c.w.Logf("client %d dies", c.id)
	c.alive = false
	for _, k := range c.w.services() {
		c.w.truth.gone(c, k)
	}
	c.leave()
}

// Move closes the connection and connects anew, anywhere.
func (c *Client) Move() {
	if c.redo == RedoBeats || c.node == nil {
		return
	}
	c.w.Logf("client %d moves away from %s", c.id, c.node.Name)
	c.leave()
	c.w.After(c.w.Between(50*time.Millisecond, time.Second), c.connect)
}

// leave closes the connection; a frozen node hears it when it wakes.
func (c *Client) leave() {
	n := c.node
	if n == nil {
		return
	}
	c.node, c.out, c.rung = nil, nil, false
	switch {
	case n.life != c.life || n.m == nil:
	case n.frozen:
		c.stale = append(c.stale, staleConn{n, c.life, c.conn})
	default:
		conn := c.conn
		n.soon(func() { n.m.Disconnect(conn) })
	}
}

// woke tells a node that wakes what was closed meanwhile.
func (c *Client) woke(n *Node) {
	var left []staleConn
	for _, s := range c.stale {
		if s.node == n && n.life == s.life && n.m != nil {
			n.m.Disconnect(s.conn)
			continue
		}
		left = append(left, s)
	}
	c.stale = left
}

// lost: the node's process has ended.
func (c *Client) lost(n *Node) {
	if c.node != n {
		return
	}
	c.node, c.out, c.rung = nil, nil, false
	c.w.After(c.w.Between(50*time.Millisecond, time.Second), c.connect)
}

// patience is how long a client waits for the answers to a health check, three of three seconds, before it goes elsewhere.
const patience = 9 * time.Second

func (c *Client) healthCheck() {
	n := c.node
	if n == nil || !c.alive {
		return
	}
	if n.frozen && c.w.now-n.frozenAt > patience || n.waits > patience {
		c.leave()
		c.connect()
		return
	}
	if n.Up() {
		conn := c.conn
		n.soon(func() { n.m.Touch(conn) })
	}
}

// pull takes what the node wants to tell this client.
func (c *Client) pull(n *Node) {
	if c.node != n || !c.rung || !n.Up() {
		return
	}
	c.rung = false
	for {
		it, ok := c.out.Next()
		if !ok {
			return
		}
		conn := c.conn
		switch it.Kind {
		case push.ItemDetect:
			c.w.After(c.w.Between(time.Millisecond, 20*time.Millisecond), func() {
				if c.conn == conn && c.node == n && n.Up() && c.alive {
					n.soon(func() { n.m.Touch(conn) })
				}
			})
		case push.ItemReset:
			if c.redo != RedoPython {
				c.w.After(c.w.Between(time.Millisecond, 500*time.Millisecond), func() {
					if c.conn == conn && c.node == n {
						c.Move()
					}
				})
			}
		case push.ItemClose:
			c.Move()
			return
		}
	}
}

// beatAll sends a beat for each service, at any member each time.
func (c *Client) beatAll() {
	if !c.alive || c.beating > 0 {
		return
	}
	for _, k := range c.w.services() {
		if c.want[k] {
			c.beat(k, 3)
		}
	}
}

func (c *Client) beat(k model.ServiceKey, tries int) {
	if !c.alive || !c.want[k] {
		return
	}
	n := c.pick()
	if n == nil || n.frozen {
		if tries > 0 {
			c.w.After(time.Second, func() { c.beat(k, tries-1) })
		}
		return
	}
	if lag := n.lag(); lag > 0 {
		c.beating++
		c.w.After(lag, func() { c.beating-- })
	}
	known := c.done[k]
	n.soon(func() {
		switch {
		case !c.want[k]: // withdrawn meanwhile
		case known:
			c.beatAt(n, k)
		default:
			c.register(n, k)
		}
	})
}

func (c *Client) beatAt(n *Node, k model.ServiceKey) {
	in := c.Instance()
	b := member.Beat{Service: k, IP: in.IP, Port: int(in.Port), Client: c.client()}
	res, wait := n.m.Beat(b)
	if wait == nil {
		c.answered(n, k, res.Known)
		return
	}
	c.await(n, k, wait, c.w.now+time.Second)
}

// await polls for the answer of the responsible member, for a second; without one the beat counts as known.
func (c *Client) await(n *Node, k model.ServiceKey, wait <-chan bool, until time.Duration) {
	select {
	case known := <-wait:
		c.answered(n, k, known)
	default:
		if c.w.now < until && n.Up() {
			c.w.After(20*time.Millisecond, func() { c.await(n, k, wait, until) })
		}
	}
}

func (c *Client) answered(n *Node, k model.ServiceKey, known bool) {
	if !known && c.alive && c.want[k] && n.Up() {
		c.register(n, k)
	}
}

func (c *Client) register(n *Node, k model.ServiceKey) {
	c.w.Logf("client %d registers %s at %s", c.id, k.Name, n.Name)
	c.registrations++
	n.m.RegisterInstance(k, c.Instance(), c.client())
	c.done[k], c.shown[k] = true, c.weight
	if c.alive { // else it has not waited for this
		c.w.truth.registered(n, c, k)
	}
}

// probe answers what the ports of a record would.
func (w *World) probe(n *Node, p session.Probe) {
	life := n.life
	w.After(w.Between(time.Millisecond, 200*time.Millisecond), func() {
		if n.life != life || !n.Up() {
			return
		}
		n.m.Verdict(p.Key, w.answers(p))
	})
}

func (w *World) ports(p session.Probe) session.PortAnswer {
	all := session.PortRefused
	for _, target := range p.Targets {
		for _, c := range w.clients {
			if c.ip != target.IP {
				continue
			}
			if c.alive && c.listens {
				return session.PortAccepted
			}
			if !c.alive && c.vanish {
				all = session.PortSilent
			}
		}
	}
	return all
}
