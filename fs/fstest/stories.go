package fstest

// Regressions are stories that failed once, each under the name of what was wrong. Tests play
// them again on every run.
func Regressions() map[string]string {
	return map[string]string{
		"a directory that waits for its marker lists the marker as data": `
			setup longttl=true delay=1h
			put g/a 9000 i ""
			chmod g 0700
		`,
		"a directory that waits for its deletion was still there": `
			setup longttl=true delay=1h look=true
			mkdir a 0755
			rmdir a
		`,
		"a file that the kernel reads itself could not be replaced": `
			setup longttl=true delay=1h passthrough=true look=true
			save a 5 b
			drain
			open 3 a r
			save a 9000 t
			read 3 0 10000
			truncate a 0
			open 1 a rw
			write 1 0 100 x
			read 3 0 10000
		`,
		"the data of a marker hid the empty name beside it": `
			setup delay=1ms look=true
			put d/ 5 r ""
			mkdir d/%thaw-empty 0700
		`,
		"an empty file could not be opened twice": `
			setup longttl=true delay=1h passthrough=true
			save a 0 e
			drain
			remount
			open 1 a r
			open 2 a r
			look
		`,
		"a directory was there as long as what was in it waited for deletion": `
			setup longttl=true delay=1h passthrough=true look=true
			put d/a 5 x ""
			unlink d/a
			rmdir d
			look
			open 3 d rw+create+excl
		`,
		"a removed directory that a listing remembers": `
			setup longttl=true delay=1h
			mkdir d 0700
			rmdir d
			look
			open 3 d rw+create+excl
		`,
		"rmdir took the data of a marker along": `
			setup delay=1h
			put g/ 5 o ""
			rmdir g
			mkdir d 0755
			rename d g
			look
		`,
		"a newer version was cut at the size of the one before": `
			setup delay=20ms look=true
			save d 5 a
			drain
			put d 4096 b ann
			look
			put d 5 c ann
			look
			put d 33000 d ann
			look
		`,
		"a reader lost a file that was renamed": `
			setup longttl=true delay=1h
			put a 200000 x ""
			open 0 a r
			rename a b
			read 0 100000 5000
			look
		`,
		"a file that the kernel reads itself could not be opened after a rename": `
			setup longttl=true delay=1h passthrough=true
			save a 5 x
			drain
			open 0 a r
			mkdir d 0755
			rename a d/a
			read 0 0 5
			look
			rename d e
			read 0 0 5
			open 1 e/a rw
			look
			write 1 0 5 y
			read 0 0 5
		`,
		"an upload that ended while its file was renamed": `
			setup delay=1ms
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
			save a 5 a
			rename a b
		`,
		"a stranger's version was hidden by a file that was closed while its attributes were sent": `
			setup delay=1h
			open 0 a rw+create
			fsync 0
			chmod a 0600
			put a 100 b ""
			wait
			look
		`,
		"the data of a directory's marker is a file": `
			setup delay=20ms look=true
			put d/ 70000 b ann
		`,
		"a listing showed the version that attributes were put aside for": `
			setup delay=1h
			put a 9000 c ann
			archive a
			setxattr a user.x 5 a
			put a 5 a ""
			wait
			look
		`,
		"attributes put aside went along with another version": `
			setup longttl=true delay=20ms look=true
			put d/a 33000 c ""
			archive d/a
			chmod d/a 0775
			put d/a 5 a ann
			rename d c
		`,
		"a directory was there as long as attributes of what was in it were put aside": `
			setup delay=1h
			mkdir d 0755
			put d/a 33000 c ""
			archive d/a
			chmod d/a 0775
			delete d/a
			wait
			rmdir d
		`,
		"a stub that was emptied and renamed was stored as one": `
			setup delay=1h
			put g/a 5 c ""
			archive g/a
			open 3 g/a w+create+trunc
			rename g/a b
			fresh
		`,
		"an empty directory went though a stub could not take its place": `
			setup delay=1h look=true
			put d/a 5 c ""
			archive d/a
			mkdir g 0755
			rename d g
		`,
		"chmod of a restored file took its copy away": `
			setup delay=1ms
			put a 5 c ""
			archive a
			thaw a
			chmod a 0700
			drain
			look
			remount
			drain
			fresh
		`,
		"a new file called %thaw-empty became data of the marker": `
			setup longttl=true
			put d/e/a 0 b ann
			save d/%thaw-empty 33000 g
			mkdir d/%thaw-empty 0755
			save d/%thaw-empty/a 5 a
		`,
	}
}
