package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/layout"
)

// cgroups is the machine's cgroup file system: the unified one (v2) or one folder a controller (v1, also as a hybrid).
type cgroups struct{ root string }

// needed are the v1 controllers without which the kubelet or runc do not start. v2 has devices and freezer built in.
func neededV1() []string {
	return []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids"}
}
func neededV2() []string { return []string{"cpu", "cpuset", "memory", "pids"} }

// wantedV2 are handed down to the nodes when the machine has them: the kubelet compares with what the root has.
func wantedV2() []string { return append(neededV2(), "hugetlb", "io") }

// version is 1 or 2, or an error that names what is missing.
func (c cgroups) version() (int, error) {
	if b, err := os.ReadFile(filepath.Join(c.root, "cgroup.controllers")); err == nil {
		return 2, missingControllers(neededV2(), func(name string) bool { return slices.Contains(strings.Fields(string(b)), name) })
	}
	return 1, missingControllers(neededV1(), func(name string) bool {
		_, err := os.Stat(filepath.Join(c.root, name, "tasks"))
		return err == nil
	})
}

func missingControllers(needed []string, has func(string) bool) error {
	missing := slices.DeleteFunc(needed, has)
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the cgroup controllers %s are missing", strings.Join(missing, ", "))
}

// make makes a node's cgroup in every hierarchy.
func (c cgroups) make(nodeName string) error {
	version, err := c.version()
	if err != nil {
		return err
	}
	if version == 2 {
		return c.makeV2(nodeName)
	}
	hierarchies, err := c.hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := makeV1(h, nodeName); err != nil {
			return err
		}
	}
	return nil
}

func makeV1(hierarchy, nodeName string) error {
	parent := hierarchy
	for _, dir := range []string{layout.CgroupRoot, nodeName} {
		child := filepath.Join(parent, dir)
		if err := mkdir(child); err != nil {
			return err
		}
		// A new cpuset is empty, and nothing can run in it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(child, file), value, 0o644); err != nil {
				return err
			}
		}
		parent = child
	}
	return nil
}

func (c cgroups) makeV2(nodeName string) error {
	parent := c.root
	for _, dir := range []string{layout.CgroupRoot, nodeName} {
		has, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		var enable []string
		for _, name := range wantedV2() {
			if slices.Contains(strings.Fields(string(has)), name) {
				enable = append(enable, "+"+name)
			}
		}
		control := filepath.Join(parent, "cgroup.subtree_control")
		if err := os.WriteFile(control, []byte(strings.Join(enable, " ")), 0o644); err != nil {
			return fmt.Errorf("%w (in a container, the lab needs the machine's own cgroups)", err)
		}
		parent = filepath.Join(parent, dir)
		if err := mkdir(parent); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a cgroup of the lab with all below it; "" is the whole lab. Their processes are dying: it tries for a while.
// It looks in every folder, since runc also uses the unified part of a hybrid.
func (c cgroups) remove(nodeName string) error {
	entries, err := os.ReadDir(c.root)
	if err != nil {
		return err
	}
	trees := []string{filepath.Join(c.root, layout.CgroupRoot, nodeName)}
	for _, e := range entries {
		trees = append(trees, filepath.Join(c.root, e.Name(), layout.CgroupRoot, nodeName))
	}
	for _, tree := range trees {
		for try := 0; ; try++ {
			err := rmdirs(tree)
			if err == nil {
				break
			}
			if try == 50 {
				return err
			}
			<-time.After(100 * time.Millisecond)
		}
	}
	return nil
}

// thaw lets the frozen containers of a node run: v1 does not deliver even SIGKILL to a frozen process.
func (c cgroups) thaw(nodeName string) error {
	tree := filepath.Join(c.root, "freezer", layout.CgroupRoot, nodeName)
	err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || path == tree {
			return err
		}
		return os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0o644)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hierarchies are the folders of a v1 file system, one a controller.
func (c cgroups) hierarchies() ([]string, error) {
	entries, err := os.ReadDir(c.root)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		dir := filepath.Join(c.root, e.Name())
		// Stat and not e: cpu can be a link to cpu,cpuacct. The v1 hierarchies are those with a tasks file.
		if _, err := os.Stat(filepath.Join(dir, "tasks")); err == nil {
			list = append(list, dir)
		}
	}
	return list, nil
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// rmdirs removes a tree of folders, the deepest first. The files in a cgroup go with it.
func rmdirs(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := rmdirs(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
