// The cost of a cached token in Go, compared with golang.org/x/oauth2's ReuseTokenSource, which returns a pointer,
// and with a struct behind a mutex. Like ../cached_token.c.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"cloposauth"

	"golang.org/x/oauth2"
)

const calls = 400_000

type source struct{ token *oauth2.Token }

func (s source) Token() (*oauth2.Token, error) { return s.token, nil }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(call func(), threads int) float64 {
	var all sync.WaitGroup
	start := time.Now()
	for range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			for range calls / threads {
				call()
			}
		}()
	}
	all.Wait()
	return float64(time.Since(start).Nanoseconds()) / float64(calls/threads*threads)
}

func main() {
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	rounds, err := strconv.Atoi(os.Args[3])
	check(err)
	client, err := cloposauth.New(cloposauth.Config{
		ClientID: "sandbox_client", ClientSecret: cloposauth.NewSecret("sandbox_secret"), Brand: "sandbox",
		IntegratorID: "test_sandbox", BaseURL: os.Args[1], Roots: cloposauth.RootsNone, CAPEM: pem,
	})
	check(err)
	defer client.Close()
	ctx := context.Background()
	token, err := client.Token(ctx)
	check(err)

	usual := &oauth2.Token{AccessToken: token.Value.Reveal(), Expiry: time.Now().Add(token.ExpiresIn)}
	reuse := oauth2.ReuseTokenSource(usual, source{usual})
	var mutex sync.Mutex
	ways := []struct {
		name string
		call func()
	}{
		{"Token", func() {
			_, err := client.Token(ctx)
			check(err)
		}},
		{"oauth2.ReuseTokenSource, no copy", func() {
			_, err := reuse.Token()
			check(err)
		}},
		{"mutex, no copy", func() {
			mutex.Lock()
			defer mutex.Unlock()
			if time.Now().After(usual.Expiry) {
				panic("expired")
			}
		}},
	}
	threads := []int{1, 2, 8, 32}
	ns := make([][4][]float64, len(ways))
	for range rounds {
		for t, number := range threads {
			for w, way := range ways {
				ns[w][t] = append(ns[w][t], measure(way.call, number))
			}
		}
	}
	for w, way := range ways {
		fmt.Printf("%-34s", way.name)
		for t := range threads {
			slices.Sort(ns[w][t])
			fmt.Printf(" %8.1f", ns[w][t][rounds/2])
		}
		fmt.Println()
	}
}
