package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	defaultSettle = 0.8 // seconds, as recorded
	// Waits up to this long only let a real server's own caches settle; longer ones wait for the clock.
	longestSettle = 1.0
)

// Runner plays scripts against one server.
type Runner struct {
	// HTTP and GRPC are host:port of the server.
	HTTP, GRPC string
	// Run is put into all names, so that a server can be used twice.
	Run string
	// Settle is a factor on the pauses after writes: 0 for a server whose reads are never stale.
	Settle float64
	// Jobs is how many scripts run at a time.
	Jobs int
	// Steps says how to take a step of each kind.
	Steps map[string]StepFunc
}

// StepFunc takes a step. It returns nil when there is no answer to record.
type StepFunc func(ctx context.Context, s *Session, step Step) (*Answer, error)

// Play runs the scripts, those that are serial last, and returns the answers by the name area/script/step. A script that
// breaks off does not keep the others from running.
func (r *Runner) Play(ctx context.Context, scripts []Script) (map[string]Answer, error) {
	answers := make([]map[string]Answer, len(scripts))
	failed := make([]error, len(scripts))
	var group errgroup.Group
	group.SetLimit(max(r.Jobs, 1))
	for i, script := range scripts {
		if !script.Serial {
			group.Go(func() error { answers[i], failed[i] = r.play(ctx, script); return nil })
		}
	}
	_ = group.Wait() // failures are kept per script
	for i, script := range scripts {
		if script.Serial {
			answers[i], failed[i] = r.play(ctx, script)
		}
	}
	all := map[string]Answer{}
	for _, a := range answers {
		maps.Copy(all, a)
	}
	return all, errors.Join(failed...)
}

func (r *Runner) play(ctx context.Context, script Script) (map[string]Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	own := strings.Join([]string{r.Run, strings.ReplaceAll(script.Area, "http-", ""), script.Name}, "-")
	s := &Session{
		Runner: r, script: script, masks: r.masks(),
		vars: map[string]string{"run": r.Run, "s": "s" + own, "ns": "n" + own},
	}
	defer func() {
		cancel()
		s.close()
	}()
	answers := map[string]Answer{}
	for _, raw := range script.Steps {
		step, err := newStep(raw, s.vars)
		if err != nil {
			return answers, fmt.Errorf("%s/%s: %w", script.Area, script.Name, err)
		}
		take := r.Steps[step.Kind]
		if take == nil {
			return answers, fmt.Errorf("%s/%s: nothing takes steps of the kind %s", script.Area, script.Name, step.Kind)
		}
		a, err := take(ctx, s, step)
		if err != nil {
			return answers, fmt.Errorf("%s/%s/%s: %w", script.Area, script.Name, step.Name, err)
		}
		if a != nil && step.Name != "" {
			a.Name = script.Area + "/" + script.Name + "/" + step.Name
			answers[a.Name] = *a
		}
	}
	return answers, nil
}

// Session is one run of a script.
type Session struct {
	*Runner
	// Kept is for what steps of one kind share, by the kind.
	Kept map[string]any

	script  Script
	vars    map[string]string
	masks   []mask
	cleanup []func()
}

// OnClose has f called when the script is over, last first.
func (s *Session) OnClose(f func()) { s.cleanup = append(s.cleanup, f) }

func (s *Session) close() {
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		s.cleanup[i]()
	}
}

// Set saves a value for later steps. With a placeholder it is taken out of what is recorded.
func (s *Session) Set(name, value, placeholder string) {
	s.vars[name] = value
	if placeholder != "" {
		s.masks = append(s.masks, mask{value, placeholder})
	}
}

// Settle pauses after a write for as long as the script says, times the factor.
func (s *Session) Settle(ctx context.Context, step Step) error {
	pause := defaultSettle
	if s.script.Settle != nil {
		pause = *s.script.Settle
	}
	if step.Settle != nil {
		pause = *step.Settle
	}
	return Pause(ctx, pause*s.Runner.Settle)
}

// Pause waits for some seconds.
func Pause(ctx context.Context, seconds float64) error {
	if seconds <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait is the step {wait: s}.
func wait(ctx context.Context, s *Session, step Step) (*Answer, error) {
	seconds := step.Wait
	if seconds <= longestSettle {
		seconds *= s.Runner.Settle
	}
	return nil, Pause(ctx, seconds)
}
