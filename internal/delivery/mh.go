package delivery

import (
	"pennypost/internal/mh"
	"pennypost/internal/status"
)

// numbered is a copy in an MH folder.
type numbered struct {
	*mh.Staged
	folder *mh.Folder
	kept   bool
}

// toMH stages a copy. An MH folder that several instructions or recipients lead to gets one.
func (j *job) toMH(p *Plan, i Instruction) error {
	at, err := p.openPlace(i)
	if err != nil {
		return err
	}
	defer at.close()
	if j.done["mh "+at.path] {
		return nil
	}
	j.done["mh "+at.path] = true
	folder, err := mh.Create(at.root, at.name)
	if err != nil {
		return status.Of(err)
	}
	s, err := folder.Stage(j.copy(p.To))
	if err != nil {
		folder.Close()
		return status.Of(err)
	}
	j.numbered = append(j.numbered, &numbered{Staged: s, folder: folder})
	return nil
}

// number makes the copies in MH folders visible; they are taken back when something fails after them.
func (j *job) number() error {
	for _, n := range j.numbered {
		if err := n.Commit(); err != nil {
			return status.Of(err)
		}
		j.paths = append(j.paths, n.Path())
	}
	return nil
}

// close takes the copy back unless it is kept.
func (n *numbered) close() error {
	defer n.folder.Close()
	if n.kept {
		return nil
	}
	return n.Abort()
}
