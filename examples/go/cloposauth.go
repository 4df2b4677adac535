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
// The package has no dependencies but the C library. Unpack the release's Go archive, which has that
// library inside for each platform, or copy this folder, into your repository, and say so in your go.mod:
//
//	require cloposauth v0.0.0
//	replace cloposauth => ./third_party/cloposauth
//
// # Linking
//
// It needs cgo and a C compiler. With the release's archive nothing else: the static library of the
// program's platform is linked, which leaves nothing to deploy beside the program. With -tags
// clopos_auth_shared the shared library is linked instead. That is also what the folder alone does, and what
// the archive does on a platform that it has no library for.
//
// With -tags clopos_auth_static another static library is linked. Where clopos_auth.h and the library are not in
// the places that the compiler searches, say where:
//
//	CGO_CFLAGS=-I/path/to/include CGO_LDFLAGS=-L/path/to/lib go build
//
// With -tags clopos_auth_pkgconfig, pkg-config says it, of either library.
//
// # Waiting
//
// Goroutines wait in Go, on a channel and their context, and never inside the C library: any number of
// them costs no thread. While a token is fresh, Token reads it without calling C.
//
// # Tests of your own program
//
// Let your code take a [TokenSource], and give it a [StaticSource]. The package needs the C library to be
// linked all the same.
//
// # Processes
//
// A child process that os/exec starts has no client and makes its own. Go programs do not fork otherwise.
package cloposauth

/*
#include <clopos_auth.h>
*/
import "C"

// Version returns the version of the C library that is running, "1.1.0".
func Version() string {
	return C.GoString(C.clopos_auth_version())
}
