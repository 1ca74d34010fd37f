// Package lastview keeps what a source listed last in a file, so that a member that restarts while the Kubernetes API is
// down finds its peers again (R6). The directory is an emptyDir: it lives as long as the pod.
package lastview

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// fileName is in the directory.
const fileName = "view.json"

// Store is the file of one pod of one cluster.
type Store struct {
	// Dir is where the file is; "" = nothing is kept.
	Dir string
	// ClusterUID keeps a member from taking over another cluster's view.
	ClusterUID string
}

// saved is what the file holds.
type saved struct {
	ClusterUID string  `json:"clusterUID"`
	Members    []entry `json:"members"`
}

// entry is a member as the source listed it; an address alone has no incarnation.
type entry struct {
	Incarnation string `json:"incarnation,omitempty"`
	Name        string `json:"name,omitempty"`
	UID         string `json:"uid,omitempty"`
	Address     string `json:"address"`
	ClientPort  int    `json:"clientPort,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Version     string `json:"version,omitempty"`
	State       string `json:"state"`
}

func fromMember(m model.Member) entry {
	e := entry{
		Name: m.Name, UID: m.UID, Address: m.Address, ClientPort: m.ClientPort, Zone: m.Zone, Version: m.Version, State: m.State.String(),
	}
	if m.Incarnation != 0 {
		e.Incarnation = m.Incarnation.String()
	}
	return e
}

func (e entry) member() (model.Member, error) {
	m := model.Member{Name: e.Name, UID: e.UID, Address: e.Address, ClientPort: e.ClientPort, Zone: e.Zone, Version: e.Version}
	var err error
	if e.Incarnation != "" {
		if m.Incarnation, err = model.ParseIncarnation(e.Incarnation); err != nil {
			return model.Member{}, err
		}
	}
	m.State, err = model.ParseMemberState(e.State)
	return m, err
}

// Save replaces the file by those that are alive.
func (s Store) Save(entries []membership.Entry) error {
	if s.Dir == "" {
		return nil
	}
	v := saved{ClusterUID: s.ClusterUID}
	for _, e := range entries {
		if e.Alive {
			v.Members = append(v.Members, fromMember(e.Member))
		}
	}
	data, err := json.Marshal(v)
	if err == nil {
		err = replaceFile(filepath.Join(s.Dir, fileName), data)
	}
	if err != nil {
		return fmt.Errorf("keep the view for a restart: %w", err)
	}
	return nil
}

// replaceFile leaves the old file or the new one, whenever it is interrupted.
func replaceFile(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Load returns what was saved last, all alive; nothing, if there is no file or it is another cluster's.
func (s Store) Load() ([]membership.Entry, error) {
	if s.Dir == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(s.Dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var v saved
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last view: %w", err)
	}
	if v.ClusterUID != s.ClusterUID {
		return nil, nil
	}
	var out []membership.Entry
	for _, saved := range v.Members {
		m, err := saved.member()
		if err != nil {
			return nil, fmt.Errorf("read the last view: %w", err)
		}
		out = append(out, membership.Entry{Member: m, Alive: true})
	}
	return out, nil
}
