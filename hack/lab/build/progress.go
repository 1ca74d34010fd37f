package build

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// How often progress is shown: a terminal's line is rewritten, a log should stay short.
const (
	liveEvery = 200 * time.Millisecond
	logEvery  = 30 * time.Second
)

// tailLines is how much of a failed build is shown.
const tailLines = 20

// progress tells what is being built, how many are left, and how long it has taken.
type progress struct {
	out          io.Writer
	live         bool
	what         string
	index, total int
	start, began time.Time // of the whole run, of this artifact

	modules, packages int
}

// follow reads the output of go build -v to its end and returns the last lines that are neither a download nor a package.
func (p *progress) follow(r io.Reader) []string {
	every := logEvery
	if p.live {
		every = liveEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	feed := make(chan string)
	go lines(r, feed)
	p.show()
	var tail []string
	for {
		select {
		case line, more := <-feed:
			if !more {
				return tail
			}
			if !p.count(line) {
				tail = append(tail, line)
				tail = tail[max(0, len(tail)-tailLines):]
			}
		case <-tick.C:
			p.show()
		}
	}
}

// count recognizes the lines that go build -v prints for a module it fetches and for a package it compiles.
func (p *progress) count(line string) bool {
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		p.modules++
	case line != "" && !strings.ContainsAny(line, " :#\t"):
		p.packages++
	default:
		return false
	}
	return true
}

func (p *progress) show() {
	end := "\n"
	if p.live {
		end = ""
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprint(p.out, p.line(time.Now())+end)
}

func (p *progress) line(now time.Time) string {
	text := fmt.Sprintf("[%d/%d] building %s: %s", p.index, p.total, p.what, seconds(now.Sub(p.began)))
	if p.modules > 0 {
		text += fmt.Sprintf(", %d modules fetched", p.modules)
	}
	if p.packages > 0 {
		text += fmt.Sprintf(", %d packages compiled", p.packages)
	}
	return text + fmt.Sprintf(" (%d left after it, %s in all)", p.total-p.index, seconds(now.Sub(p.start)))
}

func (p *progress) done() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	now := time.Now()
	fmt.Fprintf(p.out, "[%d/%d] built %s in %s (%d left, %s in all)\n",
		p.index, p.total, p.what, seconds(now.Sub(p.began)), p.total-p.index, seconds(now.Sub(p.start)))
}

func seconds(d time.Duration) string { return d.Round(time.Second).String() }
