package apply

import (
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
)

// Waiting says that nothing is wrong and the world is not there yet: look again after a while.
type Waiting struct {
	After time.Duration
	For   string
}

// Error implements error.
func (w Waiting) Error() string { return fmt.Sprintf("waiting for %s", w.For) }

// Stalled says that trying again helps nobody: somebody has to change something first. Reason is a condition reason.
type Stalled struct {
	Reason  string
	Message string
}

// Error implements error.
func (s Stalled) Error() string { return s.Message }

// Outcome turns the error of a reconcile into what controller-runtime is told, in one place: Waiting is a requeue,
// Stalled a look at the slow pace of stalledRetry (what stands in the way may be an object that nobody watches),
// anything else the back-off of the queue.
func Outcome(err error) (ctrl.Result, error) {
	if err == nil {
		return ctrl.Result{}, nil
	}
	if stalled := (Stalled{}); errors.As(err, &stalled) {
		return ctrl.Result{RequeueAfter: stalledRetry}, nil
	}
	if waiting := (Waiting{}); errors.As(err, &waiting) {
		return ctrl.Result{RequeueAfter: waiting.After}, nil
	}
	return ctrl.Result{}, err
}

// stalledRetry is slow enough to be no retry loop.
const stalledRetry = 5 * time.Minute
