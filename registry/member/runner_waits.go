package member

import "time"

// lookAtWaits tells the member how long clients wait, and the log when that begins, and ends, to be too long.
func (r *Runner) lookAtWaits(was bool) (strained bool) {
	longest := r.opts.Waited()
	r.Waited(longest)
	switch strained = r.Strained(); {
	case strained && !was:
		r.log.Warn("answers come late, for want of a processor or of files: nothing is removed for being silent", "waited", longest.Round(time.Millisecond).String())
	case was && !strained:
		r.log.Info("answers come in time again")
	}
	return strained
}
