package glacier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	awsglacier "github.com/aws/aws-sdk-go-v2/service/glacier"
	"github.com/aws/aws-sdk-go-v2/service/glacier/types"

	"github.com/thawfs/thawfs/backend"
)

// refusals remembers what the service has refused, in words for a user.
type refusals struct {
	mu   sync.Mutex
	last map[string]string // guarded by mu; by what was wanted
}

func (r *refusals) set(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]string{}
	}
	delete(r.last, what)
	if err != nil {
		r.last[what] = err.Error()
	}
}

func (r *refusals) get(what string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[what]
}

// Names of facts.
const (
	factTag       = "tag."          // and the name of a tag
	factTopic     = "notify.topic"  // ARN of the SNS topic that is told of finished jobs
	factEvents    = "notify.events" // which: names with commas between them
	factInventory = "inventory"     // what is known of the inventory; setting it to "refresh" asks for a new one
)

// Facts implements backend.Describer: what the service tells of the vault, its tags and its
// notifications, and where the catalogue comes from.
func (s *Store) Facts(ctx context.Context) (map[string]string, error) {
	facts, err := s.facts(ctx)
	return facts, s.fail(ctx, "describe", "", err)
}

func (s *Store) facts(ctx context.Context) (map[string]string, error) {
	v, err := s.svc.describe(ctx, s.vault)
	if err != nil {
		return nil, err
	}
	facts := map[string]string{
		"arn": value(v.VaultARN), "created": value(v.CreationDate),
		"archives": formatInt(v.NumberOfArchives), "size": formatInt(v.SizeInBytes),
	}
	if v.LastInventoryDate != nil {
		facts["last_inventory"] = *v.LastInventoryDate
	}
	if text := s.refusal.get("rmdir"); text != "" {
		facts["error"] = text
	}
	tags, err := s.svc.api.ListTagsForVault(ctx, &awsglacier.ListTagsForVaultInput{AccountId: account(), VaultName: &s.vault})
	if err != nil && !unknownCall(err) {
		return nil, err
	}
	if err == nil {
		for name, text := range tags.Tags {
			facts[factTag+name] = text
		}
	}
	if err := s.notificationFacts(ctx, facts); err != nil {
		return nil, err
	}
	return facts, s.inventoryFacts(facts)
}

// unknownCall reports whether a server answered that it does not know such a request at all, as
// servers for tests do.
func unknownCall(err error) bool {
	return statusOf(err) == 404 && codeOf(err) != "ResourceNotFoundException"
}

func (s *Store) notificationFacts(ctx context.Context, facts map[string]string) error {
	out, err := s.svc.api.GetVaultNotifications(ctx, &awsglacier.GetVaultNotificationsInput{AccountId: account(), VaultName: &s.vault})
	if err != nil {
		if errors.Is(translate(ctx, err), backend.ErrNotExist) || unknownCall(err) {
			return nil
		}
		return err
	}
	if c := out.VaultNotificationConfig; c != nil {
		facts[factTopic], facts[factEvents] = value(c.SNSTopic), strings.Join(c.Events, ",")
	}
	return nil
}

func (s *Store) inventoryFacts(facts map[string]string) error {
	i, err := s.Inventory()
	if err != nil {
		return err
	}
	facts[factInventory] = i.String()
	if !i.Date.IsZero() {
		facts["inventory_date"] = i.Date.UTC().Format(time.RFC3339)
		facts["inventory_age"] = s.svc.o.Now().Sub(i.Date).Round(time.Minute).String()
	}
	return nil
}

// String says in a sentence where the names come from.
func (i Inventory) String() string {
	var words []string
	if i.Date.IsZero() {
		words = append(words, "no inventory yet")
	} else {
		words = append(words, fmt.Sprintf("as of %s, %d archives", i.Date.UTC().Format(time.RFC3339), i.Archives))
	}
	if !i.Asked.IsZero() {
		words = append(words, "another was asked for at "+i.Asked.UTC().Format(time.RFC3339)+" and takes hours")
	}
	if i.Trouble != "" {
		words = append(words, i.Trouble)
	}
	return strings.Join(words, "; ")
}

// SetFact implements backend.Describer: tags, the topic and the events of the notifications can
// be set, and "inventory" to "refresh".
func (s *Store) SetFact(ctx context.Context, name, text string) error {
	return s.fail(ctx, "set "+name, "", s.setFact(ctx, name, text))
}

func (s *Store) setFact(ctx context.Context, name, text string) error {
	tag, isTag := strings.CutPrefix(name, factTag)
	switch {
	case isTag && tag != "" && text == "":
		_, err := s.svc.api.RemoveTagsFromVault(ctx, &awsglacier.RemoveTagsFromVaultInput{AccountId: account(), VaultName: &s.vault, TagKeys: []string{tag}})
		return err
	case isTag && tag != "":
		_, err := s.svc.api.AddTagsToVault(ctx, &awsglacier.AddTagsToVaultInput{AccountId: account(), VaultName: &s.vault, Tags: map[string]string{tag: text}})
		return err
	case name == factTopic, name == factEvents:
		return s.setNotifications(ctx, name, text)
	case name == factInventory && text == "refresh":
		return s.WantInventory()
	case name == factInventory:
		return fmt.Errorf("%w: the word is refresh, not %q", backend.ErrInvalid, text)
	case slices.Contains([]string{"arn", "created", "archives", "size", "last_inventory", "error", "inventory_date", "inventory_age"}, name):
		return backend.ErrPermission
	}
	return backend.ErrNotExist
}

// setNotifications changes one half of the configuration; a topic without events gets both, and
// no topic means no notifications.
func (s *Store) setNotifications(ctx context.Context, name, text string) error {
	facts := map[string]string{}
	if err := s.notificationFacts(ctx, facts); err != nil {
		return err
	}
	facts[name] = text
	if facts[factTopic] == "" {
		if name == factEvents && text != "" {
			return fmt.Errorf("%w: set %s first", backend.ErrInvalid, factTopic)
		}
		_, err := s.svc.api.DeleteVaultNotifications(ctx, &awsglacier.DeleteVaultNotificationsInput{AccountId: account(), VaultName: &s.vault})
		return err
	}
	topic, events := facts[factTopic], strings.FieldsFunc(facts[factEvents], func(r rune) bool { return r == ',' || r == ' ' })
	if len(events) == 0 {
		events = []string{"ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"}
	}
	_, err := s.svc.api.SetVaultNotifications(ctx, &awsglacier.SetVaultNotificationsInput{
		AccountId: account(), VaultName: &s.vault,
		VaultNotificationConfig: &types.VaultNotificationConfig{SNSTopic: &topic, Events: events},
	})
	return err
}
