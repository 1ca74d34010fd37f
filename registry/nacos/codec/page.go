package codec

// Page is the part of names on a page that counts from 1; a page before that is the first. It is never nil, which would be no
// list in JSON.
func Page(names []string, number, size int64) []string {
	total := int64(len(names))
	from := max(number-1, 0) * size
	if from >= total {
		return []string{}
	}
	return names[from:min(from+size, total)]
}
