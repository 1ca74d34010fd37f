package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// serveControl listens on the control socket for as long as the node lives.
func serveControl(spec Spec, s *supervisor) error {
	socket := filepath.Join(spec.Run, ControlSocket)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	server := &http.Server{Handler: controlHandler(s), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(l); err != nil {
			fmt.Printf("control socket: %v\n", err)
		}
	}()
	return nil
}

func controlHandler(s *supervisor) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s.status()); err != nil {
			fmt.Printf("control socket: %v\n", err)
		}
	})
	act := func(pattern string, do func(string) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.PathValue("name")); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	act("POST /components/{name}/stop", s.stop)
	act("POST /components/{name}/start", s.startAgain)
	return mux
}
