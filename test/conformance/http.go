package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	pollEvery    = 0.2 // seconds between two tries of a step with until
	defaultUntil = 10.0
	beatEvery    = 4.0
	recorder     = "replay" // the User-Agent of the recording
)

// HTTPSteps takes the steps of the areas over HTTP.
func HTTPSteps() map[string]StepFunc {
	client := &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c := httpSteps{client}
	return map[string]StepFunc{"http": c.request, "beat": c.beat, "listen": listen, "unlisten": unlisten, "wait": wait}
}

type httpSteps struct{ client *http.Client }

// request sends a request, again and again while the answer does not fit, and records the last answer either way.
func (c httpSteps) request(ctx context.Context, s *Session, step Step) (*Answer, error) {
	end := time.Now().Add(time.Duration(within(step, defaultUntil) * float64(time.Second)))
	for {
		resp, body, err := c.send(ctx, s, step)
		if err != nil {
			return nil, err
		}
		if !step.Until.fits(resp.StatusCode, body) && time.Now().Before(end) {
			if err := Pause(ctx, pollEvery); err != nil {
				return nil, err
			}
			continue
		}
		for name, pattern := range step.Save {
			s.Set(name, firstGroup(pattern, body), "")
		}
		a := &Answer{Request: step.HTTP, Status: resp.StatusCode, Headers: kept(resp.Header), Sort: step.Sort}
		if t, ok := resp.Header["Content-Type"]; ok {
			a.ContentType = &t[0]
			if strings.HasPrefix(t[0], "text/html") && strings.Contains(body, "<") {
				body = "<html>"
			}
		}
		if err := s.Record(a, body, step); err != nil {
			return nil, err
		}
		if m, _, _ := strings.Cut(step.HTTP, " "); m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions {
			return a, nil
		}
		return a, s.Settle(ctx, step)
	}
}

func (c httpSteps) send(ctx context.Context, s *Session, step Step) (*http.Response, string, error) {
	req, err := newRequest(ctx, s.HTTP, step)
	if err != nil {
		return nil, "", err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, "", err
		}
		if body, err = io.ReadAll(z); err != nil {
			return nil, "", err
		}
	}
	return resp, strings.ToValidUTF8(string(body), "\uFFFD"), nil
}

func newRequest(ctx context.Context, target string, step Step) (*http.Request, error) {
	method, path, _ := strings.Cut(step.HTTP, " ")
	path = quotePath(path)
	if len(step.Query) > 0 {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + encode(step.Query)
	}
	body, contentType, err := requestBody(step)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+target+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", recorder)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, v := range step.Headers {
		req.Header.Set(k, fmt.Sprint(v))
	}
	return req, nil
}

func requestBody(step Step) (body, contentType string, err error) {
	switch {
	case step.Form != nil:
		return encode(step.Form), "application/x-www-form-urlencoded", nil
	case step.JSON != nil:
		b, err := json.Marshal(step.JSON)
		return string(b), "application/json", err
	case step.Body != nil:
		return fmt.Sprint(step.Body), "", nil
	}
	return "", "", nil
}

func encode(values map[string]any) string {
	v := url.Values{}
	for name, value := range values {
		v.Set(name, fmt.Sprint(value))
	}
	return v.Encode()
}

// quotePath encodes what may not stand in a request line and leaves the rest as the script has it.
func quotePath(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c > ' ' && c < 0x7f && !strings.ContainsRune("\"#<>\\^`{|}", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// kept are the headers that are part of an answer.
func kept(h http.Header) map[string]string {
	var out map[string]string
	for _, name := range []string{"Allow", "Location", "Authorization", "Content-Encoding", "WWW-Authenticate"} {
		if v := h.Get(name); v != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

func firstGroup(pattern, text string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); len(m) > 1 {
		return m[1]
	}
	return "none"
}

func within(step Step, otherwise float64) float64 {
	if step.Within != nil {
		return *step.Within
	}
	return otherwise
}

// beat keeps an instance alive by light beats until the script is over; it is not recorded.
func (c httpSteps) beat(ctx context.Context, s *Session, step Step) (*Answer, error) {
	query, _ := step.Raw["beat"].(string)
	beat := Step{HTTP: "PUT /nacos/v1/ns/instance/beat?" + query}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for Pause(ctx, beatEvery) == nil {
			_, _, _ = c.send(ctx, s, beat) // a beat that is lost shows in what the script reads
		}
	}()
	s.OnClose(func() { <-done })
	return nil, nil
}

// listen opens a TCP port that accepts, so that an active check of it succeeds.
func listen(ctx context.Context, s *Session, step Step) (*Answer, error) {
	name, _ := step.Raw["listen"].(string)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	s.Set(name, port, "{"+name+"}")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	shut := func() {
		l.Close()
		<-done
	}
	if s.Kept == nil {
		s.Kept = map[string]any{}
	}
	s.Kept["listen "+name] = shut
	s.OnClose(shut)
	return nil, nil
}

func unlisten(_ context.Context, s *Session, step Step) (*Answer, error) {
	name, _ := step.Raw["unlisten"].(string)
	if shut, ok := s.Kept["listen "+name].(func()); ok {
		shut()
	}
	return nil, nil
}
