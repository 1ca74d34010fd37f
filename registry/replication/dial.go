package replication

// Dial is how an attempt to connect to a peer ended.
type Dial uint8

// Outcomes of an attempt to connect.
const (
	DialNone      Dial = iota // there was no attempt yet
	DialConnected             // the handshake is done
	DialRefused               // nobody listens there; the host said so
	DialSilent                // no answer in time
	DialRejected              // somebody is there, who may hold records, but TLS or the handshake failed
)

// String is for logs.
func (d Dial) String() string {
	switch d {
	case DialNone:
		return "none"
	case DialConnected:
		return "connected"
	case DialRefused:
		return "refused"
	case DialSilent:
		return "silent"
	default:
		return "rejected"
	}
}
