// Package node is the first process of a lab node. It runs in the node's own pid, mount, network, uts and ipc namespaces, sets
// them up, starts the node's components and restarts those that end, and answers on a control socket. When it dies the kernel
// ends every process of the node and drops its mounts and interfaces.
//
// Package layout writes its Spec and package cluster starts it; this package knows neither Kubernetes nor the other nodes.
package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
)

// Spec is all that a node needs to know.
type Spec struct {
	Name    string       `json:"name"`
	Address netip.Prefix `json:"address"`
	Routes  []Route      `json:"routes"`

	// Run holds the node's sockets, Logs one file a component.
	Run  string   `json:"run"`
	Logs string   `json:"logs"`
	Env  []string `json:"env"`

	// Control starts at once, then Runtime, which is given the Images; Agents wait until APIReady answers.
	Control []Component `json:"control,omitempty"`
	Runtime Component   `json:"runtime"`
	Images  []string    `json:"images"`
	// ImageDirs hold more images: what was loaded into the lab since it came up.
	ImageDirs []string    `json:"imageDirs"`
	APIReady  APICheck    `json:"apiReady"`
	Agents    []Component `json:"agents"`
}

// Component is one process of a node.
type Component struct {
	Name string   `json:"name"`
	Argv []string `json:"argv"`
}

// Route leads to another node's pods, or, without Via, out of the node's own interface.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via,omitzero"`
}

// APICheck is how to ask whether the API server is ready.
type APICheck struct {
	URL string `json:"url"`
	CA  string `json:"ca"`
}

// ContainerdSocket is the name of the runtime's socket in Run.
const ContainerdSocket = "containerd.sock"

// ControlSocket is the name of the node's own socket in Run.
const ControlSocket = "control.sock"

// ReadSpec reads a spec that WriteSpec wrote.
func ReadSpec(path string) (Spec, error) {
	var s Spec
	b, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// WriteSpec writes a spec for the node's process to read.
func WriteSpec(path string, s Spec) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
