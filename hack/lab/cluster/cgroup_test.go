package cluster

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeCgroups writes the files that the kernel would show. A folder of a real cgroup file system goes with the files in it, which
// no other file system does; tests remove the files first.
func fakeCgroups(t *testing.T, files map[string]string) cgroups {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cgroups{root}
}

// v1 is a machine with one folder a controller, and a unified part beside them.
func v1() map[string]string {
	files := map[string]string{"unified/cgroup.procs": "1\n", "systemd/tasks": "1\n", "cpuset/cpuset.cpus": "0-3\n", "cpuset/cpuset.mems": "0\n"}
	for _, name := range neededV1() {
		files[name+"/tasks"] = "1\n"
	}
	return files
}

func v2(controllers string) map[string]string {
	return map[string]string{"cgroup.controllers": controllers + "\n", "cgroup.subtree_control": "", "muster-lab/cgroup.controllers": controllers + "\n"}
}

func TestCgroupVersion(t *testing.T) {
	without := v1()
	delete(without, "pids/tasks")
	cases := map[string]struct {
		files   map[string]string
		version int
		err     string
	}{
		"v1 and hybrid":          {files: v1(), version: 1},
		"v1 without a control":   {files: without, version: 1, err: "controllers pids are missing"},
		"v2":                     {files: v2("cpuset cpu io memory hugetlb pids rdma"), version: 2},
		"v2 in a container":      {files: v2("cpu pids"), version: 2, err: "controllers cpuset, memory are missing"},
		"v2, but a longer name":  {files: v2("cpusets cpu memory pids"), version: 2, err: "cpuset"},
		"nothing mounted at all": {files: nil, version: 1, err: "cpu, cpuacct"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			version, err := fakeCgroups(t, c.files).version()
			if version != c.version {
				t.Errorf("version %d, want %d", version, c.version)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

// folders lists the folders of the lab, as seen from the root.
func folders(t *testing.T, c cgroups) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(c.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "muster-lab") {
			rel, _ := filepath.Rel(c.root, path)
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCgroupsV1(t *testing.T) {
	c := fakeCgroups(t, v1())
	for range 2 { // a rejoin finds what a crash left
		if err := c.make("node2"); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, name := range append(neededV1(), "systemd") {
		want = append(want, name+"/muster-lab", name+"/muster-lab/node2")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, folders(t, c)); diff != "" {
		t.Fatalf("made (-want +got):\n%s", diff)
	}
	for file, want := range map[string]string{"cpuset.cpus": "0-3\n", "cpuset.mems": "0\n"} {
		path := filepath.Join(c.root, "cpuset/muster-lab/node2", file)
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
		for _, dir := range []string{"muster-lab/node2", "muster-lab"} {
			if err := os.Remove(filepath.Join(c.root, "cpuset", dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the kubelet and runc made below, also in the unified part.
	for _, dir := range []string{"memory/muster-lab/node2/kubepods/pod1/c1", "unified/muster-lab/node2/kubepods"} {
		if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.remove("node2"); err != nil {
		t.Fatal(err)
	}
	if left := slices.DeleteFunc(folders(t, c), func(f string) bool { return !strings.Contains(f, "node2") }); len(left) > 0 {
		t.Errorf("a removed node leaves %v", left)
	}
	if err := c.remove(""); err != nil {
		t.Fatal(err)
	}
	if left := folders(t, c); len(left) > 0 {
		t.Errorf("a removed lab leaves %v", left)
	}
}

func TestCgroupsV2HandControllersDown(t *testing.T) {
	c := fakeCgroups(t, v2("cpuset cpu io memory pids rdma"))
	if err := c.make("node1"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "muster-lab"} {
		got, err := os.ReadFile(filepath.Join(c.root, dir, "cgroup.subtree_control"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("+cpu +cpuset +memory +pids +io", string(got)); diff != "" {
			t.Errorf("%q hands down (-want +got):\n%s", dir, diff)
		}
	}
	if _, err := os.Stat(filepath.Join(c.root, "muster-lab/node1")); err != nil {
		t.Error(err)
	}
}

// v1 delivers no SIGKILL to a frozen process: a node with a frozen container would never end.
func TestThaw(t *testing.T) {
	files := v1()
	frozen := "freezer/muster-lab/node1/kubepods/pod1/c1/freezer.state"
	files[frozen] = "FROZEN\n"
	files["freezer/muster-lab/node2/kubepods/freezer.state"] = "FROZEN\n"
	c := fakeCgroups(t, files)
	if err := c.thaw("node1"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{frozen: "THAWED", "freezer/muster-lab/node2/kubepods/freezer.state": "FROZEN\n"} {
		if got, err := os.ReadFile(filepath.Join(c.root, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
	}
	if err := c.thaw("node9"); err != nil {
		t.Errorf("a node without cgroups: %v", err)
	}
}
