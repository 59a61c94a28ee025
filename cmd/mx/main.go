// Command mx tells where mail for a domain goes. See mx(1).
package main

import (
	"os"

	"pennypost/internal/cli"
)

func main() { os.Exit(cli.Main(newCommand())) }
