package nacos

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Types of the requests over gRPC.
const (
	Register      = "InstanceRequest"
	BatchRegister = "BatchInstanceRequest"
	Query         = "ServiceQueryRequest"
	Subscribe     = "SubscribeServiceRequest"
	healthCheck   = "HealthCheckRequest"
	setup         = "ConnectionSetupRequest"
	notify        = "NotifySubscriberRequest"
)

const group = "DEFAULT_GROUP"

// Instance is one of a service, with two metadata pairs.
type Instance struct {
	IP   string
	Port int
	// Seq, up to 9000, is told by the weight, always in as many digits: who gets it knows which change that is. 0 is none, and
	// weighs 1. It is not in the metadata, because r-nacos keeps those of the first registration.
	Seq int
}

// InstanceOf is instance i of all.
func InstanceOf(i int) Instance {
	return Instance{IP: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), Port: 8080}
}

// ServiceOf is the name of service i.
func ServiceOf(i int) string { return fmt.Sprintf("com.example.shop.service-%06d", i) }

// Strings is what of an instance and its service a registry has to know, in bytes.
func (in Instance) Strings(service string) (instance, ofService int) {
	instance = len(in.IP) + len("DEFAULT") + len("version") + len("1.24.3") + len("seq") + len("0000000")
	return instance, len(service) + len(group) + len("public")
}

const (
	metadata = `{"version":"1.24.3","seq":"0000000"}`
	// noChange is what the number of a change is added to.
	noChange = 999
)

func (in Instance) weight() string {
	if in.Seq == 0 {
		return "1.0"
	}
	return strconv.Itoa(noChange+in.Seq) + ".0"
}

// Marker is the text by which a list tells that change.
func Marker(seq int) string { return `"weight":` + Instance{Seq: seq}.weight() }

// SeqOf is the number of the change that the first instance of a list tells.
func SeqOf(list []byte) (int, bool) {
	_, rest, _ := bytes.Cut(list, []byte(`"weight":`))
	weight, _, _ := bytes.Cut(rest, []byte("."))
	n, err := strconv.Atoi(string(weight))
	return n - noChange, err == nil && n > noChange
}

func (in Instance) json() string {
	return fmt.Sprintf(`{"ip":%q,"port":%d,"weight":%s,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","metadata":%s}`,
		in.IP, in.Port, in.weight(), metadata)
}

func request(id int, service, rest string) []byte {
	return fmt.Appendf(nil, `{"headers":{},"requestId":"%d","namespace":"public","serviceName":%q,"groupName":"%s",%s,"module":"naming"}`,
		id, service, group, rest)
}

// RegisterBody publishes one instance.
func RegisterBody(id int, service string, in Instance) []byte {
	return request(id, service, `"type":"registerInstance","instance":`+in.json())
}

// DeregisterBody takes it back.
func DeregisterBody(id int, service string, in Instance) []byte {
	return request(id, service, `"type":"deregisterInstance","instance":`+in.json())
}

// BatchBody publishes many of one connection.
func BatchBody(id int, service string, instances []Instance) []byte {
	texts := make([]string, len(instances))
	for i, in := range instances {
		texts[i] = in.json()
	}
	return request(id, service, `"type":"batchRegisterInstance","instances":[`+strings.Join(texts, ",")+`]`)
}

// QueryBody asks for the list of a service.
func QueryBody(id int, service string) []byte {
	return request(id, service, `"cluster":"","healthyOnly":false,"udpPort":0`)
}

// SubscribeBody asks for the list and all that follow.
func SubscribeBody(id int, service string) []byte {
	return request(id, service, `"subscribe":true,"clusters":""`)
}

// Requests over HTTP, whole, for a connection that stays open.
const (
	instancePath = "/nacos/v1/ns/instance"
	httpHead     = " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Nacos-Java-Client:v1.4.6\r\nClient-Version: Nacos-Java-Client:v1.4.6\r\n" +
		"Accept-Encoding: identity\r\nRequest-Module: Naming\r\nContent-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n"
)

func httpRequest(method, path string, values url.Values) []byte {
	length := ""
	if method != "GET" {
		length = "Content-Length: 0\r\n"
	}
	return []byte(method + " " + path + "?" + values.Encode() + httpHead + length + "\r\n")
}

func (in Instance) values(service string) url.Values {
	return url.Values{
		"namespaceId": {"public"}, "serviceName": {group + "@@" + service}, "groupName": {group}, "clusterName": {"DEFAULT"},
		"ip": {in.IP}, "port": {strconv.Itoa(in.Port)},
	}
}

// HTTPRegister publishes one instance.
func HTTPRegister(service string, in Instance) []byte {
	v := in.values(service)
	v.Set("weight", in.weight())
	v.Set("enable", "true")
	v.Set("healthy", "true")
	v.Set("ephemeral", "true")
	v.Set("metadata", metadata)
	return httpRequest("POST", instancePath, v)
}

// HTTPBeat is a light beat, as clients send them once the server has said that it takes them.
func HTTPBeat(service string, in Instance) []byte {
	return httpRequest("PUT", instancePath+"/beat", in.values(service))
}

// HTTPList asks for the list of a service.
func HTTPList(service string) []byte {
	return httpRequest("GET", instancePath+"/list", url.Values{
		"namespaceId": {"public"}, "serviceName": {group + "@@" + service}, "clusters": {""}, "udpPort": {"0"}, "clientIP": {"127.0.0.1"}, "healthyOnly": {"false"},
	})
}
