// Vault as its authors ship it, built with the tag `minimal`: auth approle, cert, jwt and userpass; engines kv, pki, ssh and
// transit. BUSL-1.1: whoever runs Reading Room builds it; we publish no binary.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
