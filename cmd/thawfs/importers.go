package main

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"gopkg.in/ini.v1"
)

// Each of these reads the configuration of another tool: remotes, what was left out and why.

// importAWS reads ~/.aws/config. The profile is named, so that its keys stay where they are.
func importAWS(b []byte) (remotes []imported, skipped []string, err error) {
	f, err := ini.LoadSources(ini.LoadOptions{AllowNestedValues: true, IgnoreInlineComment: true}, b)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range f.Sections() {
		name, isProfile := strings.CutPrefix(s.Name(), "profile ")
		if !isProfile && name != "default" || name == ini.DefaultSection && len(s.Keys()) == 0 {
			continue // sso-session, services
		}
		name = strings.TrimSpace(name)
		keys := map[string]any{keySource: "s3://", "profile": name}
		if r := s.Key("region").String(); r != "" {
			keys["region"] = r
		}
		if e := s.Key("endpoint_url").String(); e != "" {
			keys["endpoint"] = e
		}
		remotes = append(remotes, imported{name: name, keys: keys})
	}
	return remotes, nil, nil
}

// importRclone reads rclone.conf.
func importRclone(b []byte) (remotes []imported, skipped []string, err error) {
	if strings.Contains(string(b), "RCLONE_ENCRYPT_V") {
		return nil, nil, errors.New("it is encrypted: see rclone config show")
	}
	f, err := ini.LoadSources(ini.LoadOptions{IgnoreInlineComment: true}, b)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range f.Sections() {
		if len(s.Keys()) == 0 {
			continue
		}
		kind := s.Key("type").String()
		if kind != "s3" {
			skipped = append(skipped, s.Name()+": it is of type "+quote(kind))
			continue
		}
		keys := map[string]any{keySource: "s3://"}
		for theirs, ours := range map[string]string{
			"region": "region", "access_key_id": keyAccess, "secret_access_key": keySecret,
			"session_token": keyToken, "profile": "profile", "storage_class": "storage-class",
		} {
			if v := s.Key(theirs).String(); v != "" {
				keys[ours] = v
			}
		}
		if e := s.Key("endpoint").String(); e != "" {
			keys["endpoint"] = withScheme(e)
		}
		if s.Key("env_auth").String() == "true" {
			delete(keys, keyAccess)
			delete(keys, keySecret)
		} else if keys[keyAccess] == nil && keys["profile"] == nil {
			keys["anonymous"] = true
		}
		remotes = append(remotes, imported{name: s.Name(), keys: keys})
	}
	return remotes, skipped, nil
}

func withScheme(endpoint string) string {
	if strings.Contains(endpoint, "://") {
		return endpoint
	}
	return "https://" + endpoint
}

// importMC reads ~/.mc/config.json. Aliases without keys are templates or public servers.
func importMC(b []byte) (remotes []imported, skipped []string, err error) {
	var c struct {
		Aliases map[string]struct{ URL, AccessKey, SecretKey, SessionToken, API string }
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		a := c.Aliases[name]
		if a.AccessKey == "" || strings.HasPrefix(a.AccessKey, "YOUR-") || strings.EqualFold(a.API, "S3v2") {
			skipped = append(skipped, name+": it has no keys, or those of an old protocol")
			continue
		}
		keys := map[string]any{keySource: "s3://", keyAccess: a.AccessKey, keySecret: a.SecretKey}
		if a.SessionToken != "" {
			keys[keyToken] = a.SessionToken
		}
		if u := strings.TrimRight(a.URL, "/"); u != "https://s3.amazonaws.com" {
			keys["endpoint"] = u
		}
		remotes = append(remotes, imported{name: name, keys: keys})
	}
	return remotes, skipped, nil
}

// importClouds reads clouds.yaml. The cloud is named, so that its region and passwords stay where they are.
func importClouds(b []byte) (remotes []imported, skipped []string, err error) {
	var c struct {
		Clouds map[string]any `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		return nil, nil, err
	}
	flags := flagsOf(newOptions())
	for _, name := range slices.Sorted(maps.Keys(c.Clouds)) {
		if _, err := parseSource("swift://"); err != nil || flags.Lookup("os-cloud") == nil {
			skipped = append(skipped, name+": this build does not reach OpenStack Swift by clouds.yaml")
			continue
		}
		keys := map[string]any{keySource: "swift://", "os-cloud": name}
		remotes = append(remotes, imported{name: name, keys: keys})
	}
	return remotes, skipped, nil
}
