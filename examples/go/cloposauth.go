// Package cloposauth signs in to the Clopos Open API v2 and keeps the token: libclopos_auth for Go.
//
//	client, err := cloposauth.New(cloposauth.Config{ClientID: …, ClientSecret: …, Brand: …, IntegratorID: …})
//	if err != nil { … }
//	defer client.Close()
//	clopos := &http.Client{Transport: &cloposauth.Transport{Source: client}}
//	response, err := clopos.Get(cloposauth.DefaultBaseURL + "/open-api/v2/venues")
//
// # Installation
//
// The package depends on nothing but the C library. Unpack the release's Go archive, which contains that
// library for each platform, or copy this folder, into your repository, and name it in your go.mod:
//
//	require cloposauth v0.0.0
//	replace cloposauth => ./third_party/cloposauth
//
// # Linking
//
// The package needs cgo and a C compiler. The release's archive needs nothing else: the static library of
// the program's platform is linked, so there is nothing to deploy with the program. With -tags
// clopos_auth_shared the shared library is linked instead; so it is if you copied this folder, and on a
// platform that the archive has no library for.
//
// With -tags clopos_auth_static another static library is linked. If the compiler does not find
// clopos_auth.h and the library, name their folders:
//
//	CGO_CFLAGS=-I/path/to/include CGO_LDFLAGS=-L/path/to/lib go build
//
// With -tags clopos_auth_pkgconfig, pkg-config finds either library.
//
// # Waiting
//
// Goroutines wait in Go, on a channel and their context, never inside the C library: waiting goroutines
// occupy no threads. While a token is fresh, Token returns it without calling C.
//
// # Tests of your own program
//
// Let your code take a [TokenSource], and give it a [StaticSource]. The C library must be linked all the
// same.
//
// # Processes
//
// A child process that os/exec starts shares no client with its parent. Other kinds of fork do not occur in
// Go programs.
package cloposauth

/*
#include <clopos_auth.h>
*/
import "C"

// Version returns the version of the C library that is running, "1.1.0".
func Version() string {
	return C.GoString(C.clopos_auth_version())
}
