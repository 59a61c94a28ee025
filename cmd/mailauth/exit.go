package main

import "pennypost/internal/cli"

// exits are the exit statuses of the commands that answer a question, by the result (mailauth(1), EXIT STATUS). Bad
// usage is 64. What is not here is unknown to us and may be known later: 75.
var exits = map[string]int{
	"pass":      0,
	"fail":      1,
	"softfail":  2,
	"neutral":   2,
	"none":      2,
	"policy":    2,
	"permerror": 65,
	"temperror": 75,
}

// answer is the end of a command that has already said what the result is.
func answer(result string) error {
	exit, ok := exits[result]
	if !ok {
		exit = exits["temperror"]
	}
	if exit == 0 {
		return nil
	}
	return &cli.ExitError{Status: exit}
}
