package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// How often a wait asks, and how often it says that it still waits: a terminal's line is rewritten, a log stays short.
const (
	askEvery  = 250 * time.Millisecond
	liveEvery = time.Second
	logEvery  = 10 * time.Second

	worthAWord = 2 * time.Second // what passes sooner is not
)

// teller writes what happens, each line with the time since the start.
type teller struct {
	out   io.Writer
	live  bool
	began time.Time

	mu    sync.Mutex // guards all below, and writes to out
	shown bool       // a line of a wait is on the screen
}

func newTeller(out io.Writer) *teller {
	f, ok := out.(*os.File)
	return &teller{out: out, live: ok && term.IsTerminal(int(f.Fd())), began: time.Now()}
}

func (t *teller) title(text string) { t.line("\n%s\n", text) }

// sayf writes a line of the story.
func (t *teller) sayf(format string, args ...any) {
	t.line("%s  %s\n", clock(time.Since(t.began)), fmt.Sprintf(format, args...))
}

// plain writes text without a time.
func (t *teller) plain(text string) { t.line("%s\n", text) }

func (t *teller) line(format string, args ...any) { fmt.Fprintf(t, format, args...) }

// Write passes on what others say, for commands that run while a wait is shown.
func (t *teller) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	return t.out.Write(text)
}

// wipe is called with mu held.
func (t *teller) wipe() {
	if t.shown {
		fmt.Fprint(t.out, "\r\x1b[K")
		t.shown = false
	}
}

// pending shows what is waited for; a terminal forgets it with the next line.
func (t *teller) pending(what string, since time.Duration) {
	text := fmt.Sprintf("%s  ... %s (%s)", clock(time.Since(t.began)), what, since.Round(time.Second))
	if !t.live {
		t.line("%s\n", text)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	fmt.Fprint(t.out, cut(text, t.width()))
	t.shown = true
}

// width of the terminal: a longer line would wrap, and stay.
func (t *teller) width() int {
	if f, ok := t.out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns - 1
		}
	}
	return 79
}

func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width])
	}
	return text
}

func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%3d:%02d", s/60, s%60)
}

// fatal marks what no waiting mends.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// awaited is something to wait for. state says in a few words how far it is; an error counts as a state, for API servers
// come and go, unless it is fatal.
type awaited struct {
	what     string
	patience time.Duration
	ask      func(context.Context) (state string, done bool, err error)
}

// await asks until it is done, tells what the clients say meanwhile, and shows every change of state.
func (d *demo) await(ctx context.Context, a awaited) error {
	began, state := time.Now(), ""
	last := began
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		now, done, err := a.ask(asking)
		cancel()
		var broken fatal
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &broken):
			return broken.error
		case err != nil:
			now = firstLine(err.Error())
		case done:
			return nil
		}
		waited := time.Since(began)
		if waited > a.patience {
			return fmt.Errorf("%s: not after %s: %s", a.what, a.patience, now)
		}
		if quiet := time.Since(last); quiet >= min(d.say.every(), worthAWord) && (now != state || quiet >= d.say.every()) {
			state, last = now, time.Now()
			d.say.pending(a.what+": "+now, waited)
		}
		if err := d.listen(ctx, ticker.C); err != nil {
			return err
		}
	}
}

func (t *teller) every() time.Duration {
	if t.live {
		return liveEvery
	}
	return logEvery
}

// during shows that something runs which says nothing itself.
func (d *demo) during(what string, do func() error) error {
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }() // ends with do, which the caller's context ends
	ticker := time.NewTicker(d.say.every())
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			d.say.pending(what, time.Since(began))
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
