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

// Outcome turns the error of a reconcile into what controller-runtime is told, in one place. look is when the
// controller would look again anyway; Stalled waits for that and no longer, since what stands in the way may be an
// object that nobody watches. Any other error is left to the back-off of the queue.
func Outcome(err error, look time.Duration) (ctrl.Result, error) {
	waiting, stalled := Waiting{}, Stalled{}
	switch {
	case err == nil || errors.As(err, &stalled):
		return ctrl.Result{RequeueAfter: look}, nil
	case errors.As(err, &waiting):
		return ctrl.Result{RequeueAfter: min(look, waiting.After)}, nil
	}
	return ctrl.Result{}, err
}
