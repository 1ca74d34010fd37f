// Package apply brings the world to what a controller wants, and writes nothing when it is there already: server-side
// apply with one field manager, pruning, one writer of status, and the errors that say what a controller does next.
// The reconcilers of controllers/ call it. It decides nothing, and of our kinds it knows only the condition reasons.
package apply
