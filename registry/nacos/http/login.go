package http

import nethttp "net/http"

type login struct {
	AccessToken string `json:"accessToken"`
	TokenTTL    int    `json:"tokenTtl"` // a number: Go clients panic on a string (nacos-protocol §5.1)
	GlobalAdmin bool   `json:"globalAdmin"`
	Username    string `json:"username"`
}

// login is what Nacos answers with authentication off and no token key (nacos-protocol §5.1): clients that have a user and a password
// configured get a token, send it from then on, and nobody looks at it. Java 3.x asks a v3 path first, which is a 404
// and sends it here.
func (s *Server) login(_ *nethttp.Request, p params) (answer, error) {
	for _, name := range []string{"username", "password"} {
		if _, sent := p.find(name); !sent {
			return answer{}, caused("Required request parameter &#39;" + name + "&#39; for method parameter type String is not present")
		}
	}
	const token, ttl = "AUTH_DISABLED", 18000 //nolint:gosec // says that there are no tokens
	a := toJSON(login{AccessToken: token, TokenTTL: ttl, Username: p.get("username")})
	a.header = map[string]string{"Authorization": "Bearer " + token}
	return a, nil
}
