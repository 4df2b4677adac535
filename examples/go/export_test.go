//go:build cgo

package cloposauth

// AnnounceToken does what the library's callback does after a successful sign-in.
func (c *Client) AnnounceToken() {
	c.forget()
	c.publish(func(s *seen) { s.tokens++ })
}
