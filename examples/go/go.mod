module cloposauth

go 1.24
