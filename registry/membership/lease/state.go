package lease

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// viewFile is in StateDir: whom a member finds again that restarts while the API is down (R6).
const viewFile = "view.json"

// savedView is the file. It is of one cluster, and written and read by one pod.
type savedView struct {
	ClusterUID string         `json:"clusterUID"`
	Members    []model.Member `json:"members"`
}

func (s *Source) saveView(entries []membership.Entry) {
	if s.o.StateDir == "" {
		return
	}
	v := savedView{ClusterUID: s.o.ClusterUID}
	for _, e := range entries {
		if e.Alive {
			v.Members = append(v.Members, e.Member)
		}
	}
	data, err := json.Marshal(v)
	if err == nil {
		err = writeWhole(filepath.Join(s.o.StateDir, viewFile), data)
	}
	if err != nil {
		s.log.Warn("the view could not be kept for a restart", "error", err)
	}
}

// writeWhole replaces a file, so that a crash leaves the old one or the new one.
func writeWhole(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (s *Source) loadView() []membership.Entry {
	if s.o.StateDir == "" {
		return nil
	}
	var v savedView
	data, err := os.ReadFile(filepath.Join(s.o.StateDir, viewFile))
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		s.log.Warn("the last view cannot be read, starting without it", "error", err)
		return nil
	case v.ClusterUID != s.o.ClusterUID:
		return nil
	}
	var out []membership.Entry
	for _, m := range v.Members {
		if m.Incarnation != 0 {
			out = append(out, membership.Entry{Member: m, Alive: true})
		}
	}
	return out
}
