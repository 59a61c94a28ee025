package maildir

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the kernel's own records tell is what os tells.
func TestReadDir(t *testing.T) {
	path := t.TempDir()
	want := []string{}
	for i := range 3000 {
		name := strings.Repeat("x", i%200) + string(rune('a'+i%26)) + filepath.Base(t.Name()) + strings.Repeat("y", i/200)
		if os.WriteFile(filepath.Join(path, name), nil, 0o600) == nil && !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	if err := os.Mkdir(filepath.Join(path, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	want = append(want, "directory")
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var got []string
	err = readDir(dir, func(name string, mode fs.FileMode) bool {
		if mode&fs.ModeIrregular == 0 && mode.IsDir() != (name == "directory") {
			t.Errorf("%s: mode %v", name, mode)
		}
		got = append(got, name)
		return true
	})
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d names, want %d, %v", len(got), len(want), err)
	}
	file, err := os.Open(filepath.Join(path, want[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := readDir(file, func(string, fs.FileMode) bool { return true }); err == nil {
		t.Error("a file was read as a directory")
	}
}

func FuzzDirents(f *testing.F) {
	record := make([]byte, 24)
	record[0] = 1
	binary.NativeEndian.PutUint16(record[16:], 24)
	copy(record[19:], "abc")
	f.Add(record)
	f.Add(append(slices.Clone(record), record...))
	f.Add(record[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		eachDirent(b, func(name string, _ fs.FileMode) bool {
			n++
			if strings.ContainsRune(name, 0) || len(name) > len(b) {
				t.Fatalf("name %q", name)
			}
			return true
		})
		if n > len(b)/19 {
			t.Fatalf("%d records in %d bytes", n, len(b))
		}
	})
}
