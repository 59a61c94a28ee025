package arc

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pennypost/internal/dkim"
	"pennypost/internal/mailtest"
	"pennypost/internal/message"
)

// suiteFile is the validation suite of the ARC working group's time: 171 messages, 168 of them with a verdict.
const suiteFile = "arc-draft-validation-tests.yml"

// suiteCase is one message of the suite with what a validator must say of it.
type suiteCase struct{ name, message, want string }

// readSuite reads the part of YAML that the suite is written in: mappings by indentation, block scalars, and values of one
// line. Each document has its own keys.
func readSuite(text string, each func(suiteCase, map[string]string)) {
	for _, doc := range strings.Split(text, "\n---\n") {
		var cases []suiteCase
		keys := map[string]string{}
		for path, value := range yamlScalars(doc) {
			switch parts := strings.Split(path, "\x00"); {
			case parts[0] == "txt-records" && len(parts) == 2:
				keys[parts[1]] = strings.Join(strings.Fields(value), "")
			case parts[0] == "tests" && len(parts) == 3 && parts[2] == "message":
				cases = append(cases, suiteCase{name: parts[1], message: value})
			case parts[0] == "tests" && len(parts) == 3 && parts[2] == "cv":
				cases[len(cases)-1].want = strings.ToLower(strings.TrimSpace(value))
			}
		}
		for i, c := range cases {
			// Of two with one name the last counts, as for every reader of YAML.
			if !slices.ContainsFunc(cases[i+1:], func(d suiteCase) bool { return d.name == c.name }) {
				each(c, keys)
			}
		}
	}
}

// yamlScalars yields the scalars of a document in their order, each with the path to it.
func yamlScalars(doc string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		lines := strings.Split(doc, "\n")
		var path []string
		var at []int
		for i := 0; i < len(lines); i++ {
			text := strings.TrimLeft(lines[i], " ")
			indent := len(lines[i]) - len(text)
			key, value, ok := strings.Cut(text, ":")
			if !ok || strings.HasPrefix(text, "#") {
				continue
			}
			for len(at) > 0 && at[len(at)-1] >= indent {
				path, at = path[:len(path)-1], at[:len(at)-1]
			}
			path, at = append(path, key), append(at, indent)
			value = strings.TrimSpace(value)
			if value != "" && strings.ContainsAny(value[:1], "|>") {
				value, i = yamlBlock(lines, i+1, indent)
			}
			if !yield(strings.Join(path, "\x00"), value) {
				return
			}
		}
	}
}

// yamlBlock reads a block scalar that belongs to a key at the given indentation, and the line it ends in.
func yamlBlock(lines []string, from, indent int) (string, int) {
	to, inner := from, -1
	for ; to < len(lines); to++ {
		text := strings.TrimLeft(lines[to], " ")
		if text == "" {
			continue
		}
		n := len(lines[to]) - len(text)
		if n <= indent {
			break
		}
		if inner < 0 {
			inner = n
		}
	}
	var b strings.Builder
	for _, line := range lines[from:to] {
		b.WriteString(line[min(len(line), max(inner, 0)):] + "\n")
	}
	text := strings.TrimRight(b.String(), "\n")
	if text != "" {
		text += "\n"
	}
	return text, to - 1
}

func TestSuite(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(mailtest.Corpus(t, "arc"), suiteFile))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	readSuite(string(text), func(c suiteCase, keys map[string]string) {
		if c.want == "" {
			return // the suite leaves open what a chain that calls itself failed is
		}
		count[c.want]++
		for _, ends := range []string{"\n", "\r\n"} {
			m := message.Bytes([]byte(strings.ReplaceAll(c.message, "\n", ends)))
			r, err := Verify(context.Background(), m, dkim.VerifyOptions{LookupTXT: fromMap(keys)})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if string(r.Result) != c.want {
				t.Errorf("%s: got %s (%s), want %s", c.name, r.Result, r.Reason, c.want)
			}
		}
	})
	if count["pass"] != 54 || count["fail"] != 109 || count["none"] != 5 {
		t.Errorf("got %v, want 54 that pass, 109 that fail and 5 without a chain", count)
	}
}
