// An auditor's check of Textkeep's evidence that shares no line with Textkeep's own verifier: signatures by
// golang.org/x/mod/sumdb/note, trees by golang.org/x/mod/sumdb/tlog. docs/verify.md walks through it.
//
//	auditor REPORT PROOF KEY [WITNESS]...   check one report; exit 0, or 1 with the reason
//	auditor -                               the same and more, for many cases on standard input (the tests' way)
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// decode reads base64 in its one encoding: the decoder alone passes over line ends, strict or not.
func decode(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(raw) != text {
		err = errors.New("base64 in another than its one encoding")
	}
	return raw, err
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "-" {
		serve(bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout))
		return
	}
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: auditor REPORT PROOF KEY [WITNESS]...")
		os.Exit(2)
	}
	report, err := os.ReadFile(os.Args[1])
	if err == nil {
		var proof []byte
		if proof, err = os.ReadFile(os.Args[2]); err == nil {
			err = checkReport(report, proof, os.Args[3], os.Args[4:])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println("verified")
}

// checkReport: the report's digest is in an entry, the entry is in the tree, the tree is signed and cosigned.
func checkReport(report, proof []byte, key string, witnesses []string) error {
	index, path, entry, signed, err := parseProof(proof)
	if err != nil {
		return err
	}
	var said struct {
		Kind   string `json:"kind"`
		Report string `json:"report"`
	}
	if err := json.Unmarshal(entry, &said); err != nil {
		return err
	}
	digest := sha256.Sum256(report)
	if said.Report != hex.EncodeToString(digest[:]) || (said.Kind != "purge" && said.Kind != "missed-run") {
		return errors.New("the entry is not of this report")
	}
	tree, err := openCheckpoint(signed, key, witnesses)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

// openCheckpoint opens a C2SP tlog-checkpoint. tlog.ParseTree does not: it reads the format of Go's own database.
func openCheckpoint(signed []byte, key string, witnesses []string) (tlog.Tree, error) {
	log, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	known := []note.Verifier{log}
	for _, each := range witnesses {
		witness, err := newWitness(each)
		if err != nil {
			return tlog.Tree{}, err
		}
		known = append(known, witness)
	}
	opened, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, err
	}
	if err := once(signed, opened, known); err != nil {
		return tlog.Tree{}, err
	}
	if len(opened.Sigs) != len(known) {
		return tlog.Tree{}, errors.New("not every key that was named has signed")
	}
	tree, origin, err := parseCheckpoint(opened.Text)
	if err == nil && origin != log.Name() {
		err = errors.New("the checkpoint is of another log than the key")
	}
	return tree, err
}

// once: note.Open passes over a second signature by the same key; here a known key signs once, in one encoding.
func once(signed []byte, opened *note.Note, known []note.Verifier) error {
	for _, each := range append(opened.Sigs, opened.UnverifiedSigs...) {
		if _, err := decode(each.Base64); err != nil {
			return err
		}
	}
	lines := strings.Split(string(signed[len(opened.Text)+1:]), "\n")
	seen := map[string]bool{}
	for _, line := range lines[:len(lines)-1] {
		parts := strings.SplitN(line, " ", 3)
		raw, err := decode(parts[2])
		if err != nil {
			return err
		}
		for _, each := range known {
			if each.Name() == parts[1] && each.KeyHash() == binary.BigEndian.Uint32(raw) {
				if seen[parts[1]+string(raw[:4])] {
					return errors.New("one key has signed twice")
				}
				seen[parts[1]+string(raw[:4])] = true
			}
		}
	}
	return nil
}

func parseCheckpoint(text string) (tlog.Tree, string, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return tlog.Tree{}, "", errors.New("a checkpoint has three lines or more")
	}
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			return tlog.Tree{}, "", errors.New("a checkpoint has no empty line")
		}
	}
	size, err := number(lines[1])
	if err != nil {
		return tlog.Tree{}, "", err
	}
	hash, err := oneHash(lines[2])
	if err == nil && size == 0 && hash != sha256.Sum256(nil) {
		err = errors.New("an empty tree has another root")
	}
	return tlog.Tree{N: size, Hash: hash}, lines[0], err
}

// parseProof reads a C2SP tlog-proof whose extra line carries the entry.
func parseProof(proof []byte) (int64, tlog.RecordProof, []byte, []byte, error) {
	fail := func(why string) (int64, tlog.RecordProof, []byte, []byte, error) {
		return 0, nil, nil, nil, errors.New(why)
	}
	at := bytes.Index(proof, []byte("\n\n"))
	if at < 0 {
		return fail("a proof is its lines, an empty line and a checkpoint")
	}
	lines := strings.Split(string(proof[:at]), "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fail("a proof begins with its format, the entry and its index")
	}
	if !strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return fail("a proof carries its entry and names its index")
	}
	entry, err := decode(strings.TrimPrefix(lines[1], "extra "))
	if err != nil || len(entry) == 0 {
		return fail("the entry is not base64")
	}
	index, err := number(strings.TrimPrefix(lines[2], "index "))
	if err != nil {
		return fail(err.Error())
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := oneHash(line)
		if err != nil {
			return fail(err.Error())
		}
		path = append(path, hash)
	}
	return index, path, entry, proof[at+2:], nil
}

func number(text string) (int64, error) {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(value, 10) != text || tooLarge(value) {
		return 0, errors.New("a size or index is a decimal number without leading zeroes, at most 2^62")
	}
	return value, nil
}

// tooLarge: given a larger size, tlog's functions do not come back.
func tooLarge(value int64) bool {
	return value < 0 || value > 1<<62
}

func oneHash(text string) (tlog.Hash, error) {
	var hash tlog.Hash
	raw, err := decode(text)
	if err != nil || len(raw) != len(hash) {
		return hash, errors.New("a hash is 32 bytes in base64")
	}
	copy(hash[:], raw)
	return hash, nil
}

// witness verifies a C2SP tlog-cosignature, which the note package leaves to its callers.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (*witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("a witness's key is NAME+ID+BASE64")
	}
	raw, err := decode(parts[2])
	if err != nil || len(raw) != 33 || raw[0] != 4 {
		return nil, errors.New("a witness's key is of type 4 and 32 bytes")
	}
	digest := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	if hex.EncodeToString(digest[:4]) != parts[1] {
		return nil, errors.New("a witness's key has another id")
	}
	return &witness{parts[0], binary.BigEndian.Uint32(digest[:4]), raw[1:]}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }
func (w *witness) Verify(text, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	if at == 0 || at > 1<<63-1 {
		return false
	}
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", at)), text...)
	return ed25519.Verify(w.key, signed, sig[8:])
}

// serve answers cases: a byte for what to check, a count of fields, each field behind its length (all big-endian).
// The answer is a byte, 1 where nothing stands against it.
func serve(in *bufio.Reader, out *bufio.Writer) {
	defer out.Flush()
	for {
		what, err := in.ReadByte()
		if err != nil {
			return
		}
		fields, err := readFields(in)
		if err != nil {
			panic(err)
		}
		answer := byte(0)
		if check(what, fields) == nil {
			answer = 1
		}
		if err := out.WriteByte(answer); err != nil {
			panic(err)
		}
	}
}

func readFields(in *bufio.Reader) ([][]byte, error) {
	var count uint32
	if err := binary.Read(in, binary.BigEndian, &count); err != nil {
		return nil, err
	}
	fields := make([][]byte, count)
	for at := range fields {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); err != nil {
			return nil, err
		}
		fields[at] = make([]byte, length)
		if _, err := io.ReadFull(in, fields[at]); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func check(what byte, fields [][]byte) (err error) {
	switch what {
	case 'p': // report, proof, key, witnesses...
		return checkReport(fields[0], fields[1], string(fields[2]), asStrings(fields[3:]))
	case 'n': // note, key, witnesses...
		_, err = openCheckpoint(fields[0], string(fields[1]), asStrings(fields[2:]))
		return err
	case 'i': // leaf, index, size, root, path...
		path, hashes, err := hashesOf(fields[4:], fields[0], fields[3])
		if err != nil {
			return err
		}
		if tooLarge(integer(fields[2])) {
			return errors.New("the tree is too large")
		}
		return tlog.CheckRecord(path, integer(fields[2]), hashes[1], integer(fields[1]), hashes[0])
	case 'c': // old size, new size, old root, new root, path...
		path, hashes, err := hashesOf(fields[4:], fields[2], fields[3])
		if err != nil {
			return err
		}
		if tooLarge(integer(fields[1])) {
			return errors.New("the tree is too large")
		}
		return tlog.CheckTree(tlog.TreeProof(path), integer(fields[1]), hashes[1], integer(fields[0]), hashes[0])
	}
	return errors.New("no such check")
}

func hashesOf(path [][]byte, more ...[]byte) (tlog.RecordProof, []tlog.Hash, error) {
	var all []tlog.Hash
	for _, each := range append(append([][]byte{}, path...), more...) {
		var hash tlog.Hash
		if copy(hash[:], each) != len(hash) || len(each) != len(hash) {
			return nil, nil, errors.New("a hash is 32 bytes")
		}
		all = append(all, hash)
	}
	return all[:len(path)], all[len(path):], nil
}

func asStrings(fields [][]byte) []string {
	var all []string
	for _, each := range fields {
		all = append(all, string(each))
	}
	return all
}

func integer(field []byte) int64 {
	return int64(binary.BigEndian.Uint64(field))
}
