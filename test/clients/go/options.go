package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
)

// options are the flags.
type options struct {
	servers   []constant.ServerConfig
	namespace string
	group     string
	service   string
	services  int
	instances int
	ip        string
	port      int
	weight    float64
	listen    bool
	clients   int
	onExit    string
	username  string
	password  string
	logLevel  string
	dir       string
	timeoutMs uint64
	metadata  map[string]string
}

var modes = []string{"provider", "consumer", "query", "list", "run"}

func parse(args []string, errs io.Writer) (*options, string, error) {
	o := &options{metadata: map[string]string{}}
	var servers string
	fs := flag.NewFlagSet("muster-client", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.Usage = func() {
		fmt.Fprint(errs, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&servers, "servers", "127.0.0.1:8848", "`host:port[/grpc-port]`, comma separated; the gRPC port is port + 1000 unless given")
	fs.StringVar(&o.namespace, "namespace", "public", "namespace id")
	fs.StringVar(&o.group, "group", constant.DEFAULT_GROUP, "group of the services")
	fs.StringVar(&o.service, "service", "demo", "name of the service; with several, the part before -0, -1, ...")
	fs.IntVar(&o.services, "services", 1, "how many services")
	fs.IntVar(&o.instances, "instances", 1, "how many instances of each service the provider registers")
	fs.StringVar(&o.ip, "ip", "", "address of the instances (default: POD_IP, or the first address of this machine)")
	fs.IntVar(&o.port, "port", 8080, "port of the first instance; each further one has the next")
	fs.Float64Var(&o.weight, "weight", 1, "weight of the instances")
	fs.BoolVar(&o.listen, "listen", false, "accept connections on the ports of the instances, so that probes find them open")
	fs.IntVar(&o.clients, "clients", 1, "how many SDK clients, each with a connection of its own, share the work")
	fs.StringVar(&o.onExit, "on-exit", "deregister", "what a provider does on SIGTERM: `deregister`, or close (the connection only)")
	fs.StringVar(&o.username, "username", "", "user, when the server asks for one")
	fs.StringVar(&o.password, "password", "", "its password")
	fs.StringVar(&o.logLevel, "sdk-log", "off", "what the SDK logs to standard error: debug, info, warn, error or off")
	fs.StringVar(&o.dir, "dir", "", "where the SDK keeps its cache (default: a temporary directory)")
	fs.Uint64Var(&o.timeoutMs, "timeout-ms", 10000, "time of a request, with its retries")
	fs.Func("metadata", "`key=value` of every instance; repeatable", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is not key=value", s)
		}
		o.metadata[k] = v
		return nil
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, "", err
		}
		return nil, "", errUsage
	}
	mode, err := o.complete(fs.Args(), servers)
	if err != nil {
		fmt.Fprintln(errs, "muster-client:", err)
		return nil, "", errUsage
	}
	return o, mode, nil
}

// complete checks what flags cannot, and fills in what depends on others.
func (o *options) complete(args []string, servers string) (mode string, err error) {
	if len(args) != 1 || !contains(modes, args[0]) {
		return "", fmt.Errorf("want one mode of %s", strings.Join(modes, ", "))
	}
	if o.servers, err = parseServers(servers); err != nil {
		return "", fmt.Errorf("--servers: %w", err)
	}
	switch {
	case o.services < 1 || o.instances < 1 || o.clients < 1:
		return "", fmt.Errorf("--services, --instances and --clients count from 1")
	case o.port < 1 || o.port+o.instances*o.services > 65536:
		return "", fmt.Errorf("--port %d leaves no room for %d instances", o.port, o.instances*o.services)
	case o.onExit != "deregister" && o.onExit != "close":
		return "", fmt.Errorf("--on-exit %q is neither deregister nor close", o.onExit)
	}
	if _, ok := levels[o.logLevel]; !ok {
		return "", fmt.Errorf("--sdk-log %q is none of debug, info, warn, error, off", o.logLevel)
	}
	if o.ip == "" {
		o.ip = ownIP()
	}
	return args[0], nil
}

func parseServers(list string) ([]constant.ServerConfig, error) {
	var out []constant.ServerConfig
	for server := range strings.SplitSeq(list, ",") {
		address, grpcPort, given := strings.Cut(strings.TrimSpace(server), "/")
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c := constant.ServerConfig{IpAddr: host}
		if strings.Contains(host, ":") {
			c.IpAddr = "[" + host + "]" // the SDK puts a colon and the port after it
		}
		if c.Port, err = strconv.ParseUint(port, 10, 16); err != nil {
			return nil, fmt.Errorf("port of %q: %w", server, err)
		}
		c.GrpcPort = c.Port + 1000
		if given {
			if c.GrpcPort, err = strconv.ParseUint(grpcPort, 10, 16); err != nil {
				return nil, fmt.Errorf("gRPC port of %q: %w", server, err)
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// ownIP is how others reach this machine.
func ownIP() string {
	if ip := os.Getenv("POD_IP"); ip != "" {
		return ip
	}
	addrs, _ := net.InterfaceAddrs() // none is as good as an error
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
