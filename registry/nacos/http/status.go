package http

import (
	"net"
	nethttp "net/http"
	"strconv"
	"strings"
)

const statusUp, statusDown = "UP", "DOWN"

// status is the server's status, which getServerStatus() of all clients compares with UP.
type status struct {
	Status string `json:"status"`
}

// numbers have the names that Nacos gives them. A member is responsible for all that it holds. cpu, load and mem are -1,
// as in Nacos where the JVM cannot tell: they are of the process, and /metrics of the admin port has them.
type numbers struct {
	Status                string  `json:"status"`
	Services              int     `json:"serviceCount"`
	Instances             int     `json:"instanceCount"`
	Subscriptions         int     `json:"subscribeCount"`
	ResponsibleInstances  int     `json:"responsibleInstanceCount"`
	Clients               int     `json:"clientCount"`
	ConnectionClients     int     `json:"connectionBasedClientCount"`
	BeatClients           int     `json:"ephemeralIpPortClientCount"`
	PersistentClients     int     `json:"persistentIpPortClientCount"`
	ResponsibleForClients int     `json:"responsibleClientCount"`
	CPU                   float64 `json:"cpu"`
	Load                  float64 `json:"load"`
	Mem                   float64 `json:"mem"`
}

// operatorMetrics is GET /operator/metrics. A member that is not ready answers it to other servers only (nacos-protocol §0).
func (s *Server) operatorMetrics(q *request) (answer, error) {
	st := statusUp
	if ready, why := s.core.Ready(); !ready {
		if !strings.HasPrefix(q.Header.Get("User-Agent"), "Nacos-Server") {
			return answer{}, unavailable(statusDown, why)
		}
		st = statusDown
	}
	if q.params.strictFlag("onlyStatus", true) {
		return toJSON(status{st}), nil
	}
	c := s.core.Counts()
	return toJSON(numbers{
		Status: st, Services: c.Services, Instances: c.Instances, Subscriptions: c.Subscriptions, ResponsibleInstances: c.Instances,
		Clients: c.Connections + c.BeatClients, ConnectionClients: c.Connections, BeatClients: c.BeatClients,
		ResponsibleForClients: c.Connections + c.BeatClients, CPU: -1, Load: -1, Mem: -1,
	}), nil
}

// liveness says that the process answers. It never depends on peers.
func (s *Server) liveness(*nethttp.Request, params) (answer, error) {
	return text(nethttp.StatusOK, "OK"), nil
}

func (s *Server) readiness(*nethttp.Request, params) (answer, error) {
	if ready, _ := s.core.Ready(); !ready {
		return answer{}, &refusal{shapeText, nethttp.StatusInternalServerError, "naming not in readiness"}
	}
	return text(nethttp.StatusOK, "OK"), nil
}

// compatibleVersion is the Nacos whose answers these are. Tools choose by it what they may ask for.
const compatibleVersion = "2.5.1"

// state is GET /v1/console/server/state: the keys of nacos-protocol §2.7 that say something of a naming server without a console.
func (s *Server) state(r *nethttp.Request, _ params) (answer, error) {
	mode := "cluster"
	if s.standalone {
		mode = "standalone"
	}
	st := map[string]string{
		"auth_admin_request": "false", "auth_enabled": "false", "auth_system_type": "nacos", "console_ui_enabled": "false",
		"function_mode": "naming", "login_page_enabled": "false", "startup_mode": mode, "version": compatibleVersion,
	}
	if addr, ok := r.Context().Value(nethttp.LocalAddrContextKey).(*net.TCPAddr); ok {
		st["server_port"] = strconv.Itoa(addr.Port)
	}
	return toJSON(st), nil
}
