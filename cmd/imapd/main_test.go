package main

import (
	"testing"

	"pennypost/internal/mailtest"
)

func TestMain(m *testing.M) { mailtest.Main(m) }

func TestScripts(t *testing.T) { mailtest.Scripts(t, "testdata/script", "imapd") }
