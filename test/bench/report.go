package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// row is one figure beside its limit.
type row struct {
	what, against, limit, value, ratio, target string
	met, judged                                bool
}

// judge compares the ratio with what is to be reached.
func (r *row) judge(ratio, target float64) {
	r.ratio, r.target = times(ratio), "<= "+strconv.FormatFloat(target, 'g', -1, 64)
	r.met, r.judged = ratio <= target, true
}

func (r *row) verdict() string {
	switch {
	case !r.judged:
		return ""
	case r.met:
		return "yes"
	}
	return "no"
}

// times writes a ratio: 1.40, and 0.0033 where two places would say nothing.
func times(x float64) string {
	if math.Abs(x) < 0.05 {
		return strconv.FormatFloat(x, 'g', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ms(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + " ms" }

// count writes 1,000,000.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// table is what is published.
type table struct {
	head  []string
	lines [][]string
	about string
	size  size
}

func (t *table) add(cells ...string) { t.lines = append(t.lines, cells) }

func (t *table) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\nSize `%s`, %d rounds.\n\n", t.about, t.size.name, t.size.rounds)
	line := func(cells []string) { fmt.Fprintf(&s, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	line(strings.Split(strings.Repeat("---,", len(t.head)-1)+"---", ","))
	for _, cells := range t.lines {
		line(cells)
	}
	return s.String()
}

// publish prints the table, and puts it between the marks of that name in a file, if it is whole.
func (t *table) publish(out io.Writer, file, name string, failure error) error {
	if len(t.lines) == 0 && failure == nil {
		return errors.New("-only: nothing is called so, and nothing was measured")
	}
	fmt.Fprint(out, t)
	if file == "" || failure != nil {
		return failure
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("-docs: %w", err)
	}
	if text, err = replace(text, name, t.String()); err != nil {
		return fmt.Errorf("-docs %s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644)
}

// replace puts content between two lines, the marks, which stay.
func replace(text []byte, name, content string) ([]byte, error) {
	begin, end := fmt.Appendf(nil, "<!-- %s:begin -->\n", name), fmt.Appendf(nil, "<!-- %s:end -->\n", name)
	head, rest, found := bytes.Cut(text, begin)
	_, tail, closed := bytes.Cut(rest, end)
	if !found || !closed {
		return nil, errors.New("there are no marks " + strings.TrimSpace(string(begin)) + " and " + strings.TrimSpace(string(end)))
	}
	return bytes.Join([][]byte{head, begin, []byte(content), end, tail}, nil), nil
}

// machine describes where it runs.
func machine() (string, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %s, %d cores, Linux %s, %s. Load average before the run: %s.",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), processor(info), runtime.NumCPU(), strings.TrimSpace(string(kernel)),
		runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " ")), nil
}

// processor is the name of the processor.
func processor(cpuinfo []byte) string {
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
