// The one program that the test images are made of. It is static and resolves no names.
//
//	probe                 serve: HTTP on :8080 and a TCP echo on :9090
//	probe pause           hold a pod's namespaces and reap its orphans
//	probe dial ADDR       one TCP connection: exit 0 and "open", or exit 1 and "blocked: …"
//	probe hold ADDR       one TCP connection, kept: a line every half second; exit 2 and "cut …" once it ends
//	probe beacon ADDR     a new TCP connection every second for ever, each reported as by dial
//	probe implant [ADDR]  serve, and play a dropped implant beside it: a file /tmp/.implant, and a child
//	                      whose executable /tmp/.x is unlinked while it runs; with ADDR the child is a beacon
//	probe memfd           a child whose executable never had a name (memfd_create), and waiting for it
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

const dialTimeout = 2 * time.Second

func main() {
	// As a container's first process it would otherwise outlive every SIGTERM.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-stop; os.Exit(0) }()

	mode, args := "serve", os.Args[1:]
	if len(args) > 0 {
		mode, args = args[0], args[1:]
	}
	switch {
	case mode == "serve" && len(args) == 0:
		serve()
	case mode == "pause" && len(args) == 0:
		pause()
	case mode == "dial" && len(args) == 1:
		if !report(args[0]) {
			os.Exit(1)
		}
	case mode == "hold" && len(args) == 1:
		hold(args[0])
	case mode == "beacon" && len(args) == 1:
		beacon(args[0])
	case mode == "implant" && len(args) <= 1:
		implant(args)
		serve()
	case mode == "memfd" && len(args) == 0:
		memfd()
	case mode == "sleep" && len(args) == 0:
		select {}
	default:
		fmt.Fprintln(os.Stderr, "usage: probe [pause | dial ADDR | hold ADDR | beacon ADDR | implant [ADDR] | memfd]")
		os.Exit(64)
	}
}

func say(format string, args ...any) {
	fmt.Printf("%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}

func fatal(err error) {
	say("error: %v", err)
	os.Exit(70)
}

func report(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		say("blocked: %v", err)
		return false
	}
	conn.Close()
	say("open")
	return true
}

func beacon(addr string) {
	for {
		report(addr)
		time.Sleep(time.Second)
	}
}

func hold(addr string) {
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		say("blocked: %v", err)
		os.Exit(1)
	}
	echo := make([]byte, 1)
	for n := 0; ; n++ {
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err = conn.Write([]byte("x")); err == nil {
			_, err = io.ReadFull(conn, echo)
		}
		if err != nil {
			say("cut %v", err)
			os.Exit(2)
		}
		say("alive %d", n)
		time.Sleep(500 * time.Millisecond)
	}
}

func serve() {
	listener, err := net.Listen("tcp", ":9090")
	if err != nil {
		fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fatal(err)
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	say("serving")
	fatal(http.ListenAndServe(":8080", nil))
}

// implant leaves what an intruder would: a file, and a process whose executable can be read only through /proc.
func implant(args []string) {
	const dropped, copied = "/tmp/.implant", "/tmp/.x"
	if err := os.WriteFile(dropped, []byte("#!/bin/sh\n# dropped\n"), 0o755); err != nil {
		fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		fatal(err)
	}
	if err := os.WriteFile(copied, self, 0o755); err != nil {
		fatal(err)
	}
	child := exec.Command(copied, "sleep")
	if len(args) == 1 {
		child = exec.Command(copied, "beacon", args[0])
	}
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		fatal(err)
	}
	if err := os.Remove(copied); err != nil {
		fatal(err)
	}
	say("implant running as process %d", child.Process.Pid)
	go func() { say("implant gone: %v", child.Wait()) }()
}

// memfd runs a copy of itself that is in memory alone.
func memfd() {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		fatal(err)
	}
	const memfdCreate = 319 // x86-64; arm64 has 279
	name := []byte("kworker\x00")
	fd, _, errno := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(&name[0])), 0, 0)
	if errno != 0 {
		fatal(errno)
	}
	file := os.NewFile(fd, "memfd")
	if _, err := file.Write(self); err != nil {
		fatal(err)
	}
	child := exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), "sleep")
	if err := child.Start(); err != nil {
		fatal(err)
	}
	say("memfd running as process %d", child.Process.Pid)
	child.Wait()
}

func pause() {
	for {
		// Blocks while there are children; with none, waits a little for some to be orphaned.
		if _, err := syscall.Wait4(-1, nil, 0, nil); err == syscall.ECHILD {
			time.Sleep(time.Second)
		}
	}
}
