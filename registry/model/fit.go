package model

// Fit gives back the room of a peak, which maps keep for ever: it returns m, or its entries in a new map when they are few
// beside the most that there were, which it notes in peak.
func Fit[K comparable, V any](m map[K]V, peak *int) map[K]V {
	if *peak = max(*peak, len(m)); *peak < 256 || len(m) > *peak/8 {
		return m
	}
	*peak = len(m)
	fitting := make(map[K]V, len(m))
	for k, v := range m {
		fitting[k] = v
	}
	return fitting
}
