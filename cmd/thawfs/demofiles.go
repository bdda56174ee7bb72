package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// demoBucket is a bucket of `thawfs demo`.
type demoBucket struct {
	name  string
	class string            // of all its objects; empty: readable at once
	files map[string]string // by key
}

func demoBuckets() []demoBucket {
	return []demoBucket{
		{name: "hot", files: map[string]string{
			"README.txt": `This file is an object: key "README.txt" in the bucket "hot".

You can read, write, rename and delete it like any other file. What you change here is
sent to the store when the file is closed, or at the latest when the mount ends.
`,
			"notes/today.txt":    "- mount a bucket\n- use it like a disk\n",
			"notes/tomorrow.txt": "- look into the archive\n",
			"pictures/wave.png":  demoPicture(320, 200),
		}},
		{name: "archive", class: "GLACIER", files: map[string]string{
			"2019/letter.txt":  "You have brought this letter back from the cold. Welcome!\n",
			"2019/picture.png": demoPicture(640, 400),
		}},
	}
}

// demoPicture draws a PNG.
func demoPicture(width, height int) string {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			wave := math.Sin(float64(x)/37) + math.Sin(float64(y)/23+float64(x)/91)
			img.Set(x, y, color.RGBA{uint8(40 * (wave + 2)), uint8(180 * y / height), 200, 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // the buffer takes everything
	}
	return b.String()
}
