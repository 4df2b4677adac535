module behaviours

go 1.24

require cloposauth v0.0.0

replace cloposauth => ../../../examples/go
