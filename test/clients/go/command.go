package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// command is one line of input. What is left out is what the flags say.
type command struct {
	ID      string `json:"id"` // given back in the event "done"
	Do      string `json:"do"` // register, deregister, subscribe, unsubscribe, query, list, exit
	Service string `json:"service"`
	Group   string `json:"group"`
	// Client is the SDK client that does it. Default: the service's name decides.
	Client *int `json:"client"`

	Instances int               `json:"instances"`
	IP        string            `json:"ip"`
	Port      int               `json:"port"`
	Cluster   string            `json:"cluster"`
	Weight    *float64          `json:"weight"`
	Metadata  map[string]string `json:"metadata"`

	Page     uint32 `json:"page"`
	PageSize uint32 `json:"page_size"`
}

var errRefused = errors.New("the server refused it for good")

// obey performs the commands of in, in order, until it ends.
func (d *driver) obey(ctx context.Context, in io.Reader) error {
	lines := make(chan string)
	go func() { // may stay behind in a read of standard input when ctx ends: then so does the process
		defer close(lines)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, open := <-lines:
			if !open {
				return nil
			}
			var cmd command
			dec := json.NewDecoder(bytes.NewReader([]byte(line)))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&cmd); err != nil {
				d.events.emit(event{Event: "done", OK: ptr(false), Error: err.Error()})
				continue
			}
			if cmd.Do == "exit" {
				return nil
			}
			_ = d.perform(cmd) // its event says it
		}
	}
}

// perform does what a command says and tells how it went.
func (d *driver) perform(cmd command) error {
	began := time.Now()
	err := d.try(&cmd)
	ev := event{
		Event: "done", ID: cmd.ID, Do: cmd.Do, Service: cmd.Service, OK: ptr(err == nil), Client: cmd.Client,
		TookMS: ptr(time.Since(began).Milliseconds()),
	}
	if err != nil {
		ev.Error = err.Error()
	}
	d.events.emit(ev)
	return err
}

func (d *driver) try(cmd *command) error {
	d.fill(cmd)
	if *cmd.Client < 0 || *cmd.Client >= len(d.clients) {
		return fmt.Errorf("client %d: there are %d", *cmd.Client, len(d.clients))
	}
	c := d.clients[*cmd.Client]
	switch cmd.Do {
	case "register":
		return d.register(c, cmd)
	case "deregister":
		return accepted(c.DeregisterInstance(vo.DeregisterInstanceParam{
			Ip: cmd.IP, Port: uint64(cmd.Port), Cluster: cmd.Cluster, ServiceName: cmd.Service, GroupName: cmd.Group, Ephemeral: true,
		}))
	case "subscribe":
		return d.subscribe(c, cmd)
	case "unsubscribe":
		d.mu.Lock()
		param := d.subscriptions[cmd.subscription()]
		delete(d.subscriptions, cmd.subscription())
		d.mu.Unlock()
		if param == nil {
			return fmt.Errorf("client %d is not subscribed to %s", *cmd.Client, cmd.Service)
		}
		return c.Unsubscribe(param)
	case "query":
		service, err := d.ask(cmd.Service, cmd.Group)
		if err == nil {
			ev, _ := listed(cmd.Service, service.Hosts, time.Now(), nil)
			ev.ID, ev.Client = cmd.ID, cmd.Client
			d.events.emit(ev)
		}
		return err
	case "list":
		return d.list(c, cmd)
	}
	return fmt.Errorf("do %q: not one of register, deregister, subscribe, unsubscribe, query, list, exit", cmd.Do)
}

func (d *driver) fill(cmd *command) {
	o := d.opts
	if cmd.Service == "" {
		cmd.Service = o.service
	}
	if cmd.Group == "" {
		cmd.Group = o.group
	}
	if cmd.Instances == 0 {
		cmd.Instances = o.instances
	}
	if cmd.IP == "" {
		cmd.IP = o.ip
	}
	if cmd.Port == 0 {
		cmd.Port = o.port
	}
	if cmd.Weight == nil {
		cmd.Weight = &o.weight
	}
	if cmd.Page == 0 {
		cmd.Page = 1
	}
	if cmd.PageSize == 0 {
		cmd.PageSize = 10000
	}
	if cmd.Client == nil {
		sum := 0
		for _, b := range []byte(cmd.Service) {
			sum = sum*31 + int(b)
		}
		cmd.Client = ptr(int(uint(sum) % uint(len(d.clients))))
	}
}

// register publishes one instance as such and more of them as a batch: a second register would replace the first.
func (d *driver) register(c naming_client.INamingClient, cmd *command) error {
	instances := make([]vo.RegisterInstanceParam, cmd.Instances)
	for i := range instances {
		metadata := maps.Clone(d.opts.metadata)
		metadata[registeredAt] = strconv.FormatInt(time.Now().UnixMilli(), 10)
		maps.Copy(metadata, cmd.Metadata)
		instances[i] = vo.RegisterInstanceParam{
			Ip: cmd.IP, Port: uint64(cmd.Port + i), Weight: *cmd.Weight, Enable: true, Healthy: true, Ephemeral: true,
			ClusterName: cmd.Cluster, ServiceName: cmd.Service, GroupName: cmd.Group, Metadata: metadata,
		}
		if d.opts.listen {
			if err := d.open(cmd.IP, cmd.Port+i); err != nil {
				return err
			}
		}
	}
	if len(instances) == 1 {
		return accepted(c.RegisterInstance(instances[0]))
	}
	return accepted(c.BatchRegisterInstance(vo.BatchRegisterInstanceParam{
		ServiceName: cmd.Service, GroupName: cmd.Group, Instances: instances,
	}))
}

func (d *driver) subscribe(c naming_client.INamingClient, cmd *command) error {
	service, client := cmd.Service, *cmd.Client
	var mu sync.Mutex // guards before: a push and an answer can be told at once
	var before map[string]bool
	param := &vo.SubscribeParam{ServiceName: service, GroupName: cmd.Group, SubscribeCallback: func(hosts []model.Instance, err error) {
		if err != nil {
			d.events.emit(event{Event: "list", Service: service, Client: &client, Error: err.Error()})
			return
		}
		mu.Lock()
		defer mu.Unlock()
		var ev event
		ev, before = listed(service, hosts, time.Now(), before)
		ev.Client = &client
		d.events.emit(ev)
	}}
	d.mu.Lock()
	d.subscriptions[cmd.subscription()] = param
	d.mu.Unlock()
	return c.Subscribe(param)
}

func (d *driver) list(c naming_client.INamingClient, cmd *command) error {
	services, err := c.GetAllServicesInfo(vo.GetAllServiceInfoParam{
		NameSpace: d.opts.namespace, GroupName: cmd.Group, PageNo: cmd.Page, PageSize: cmd.PageSize,
	})
	if err != nil {
		return err
	}
	d.events.emit(event{Event: "services", ID: cmd.ID, Count: ptr(int(services.Count)), Names: services.Doms, Client: cmd.Client})
	return nil
}

func (cmd *command) subscription() string {
	return strconv.Itoa(*cmd.Client) + "/" + cmd.Group + "@@" + cmd.Service
}

// accepted makes an error of the answer false: the SDK reports a final refusal as no error.
func accepted(ok bool, err error) error {
	if err == nil && !ok {
		return errRefused
	}
	return err
}
