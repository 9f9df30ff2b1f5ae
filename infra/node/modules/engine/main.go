//go:build recipe

// The upstream main of Pulumi's engine is built as it is; this file only tells the go command to keep it in go.mod.
package main

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
