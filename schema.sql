-- The whole schema of today. A new file gets it at once; an older one walks migrations/ to the same
-- end. PRAGMA user_version counts the steps. The sqlite3 shell can open and change the file: nothing
-- here needs a function of the application.
--
-- A CHECK of three words or more is a chain of ORs: for a longer IN list SQLite builds a temporary tree on
-- every row that is written, which doubles the price of a row.
--
-- AUTOINCREMENT stands where rows are deleted or come in bulk, so that no id comes twice. It costs a second row
-- for each insert; people, webhooks and the ledger stay for good, and the highest id + 1 is new there anyway.
--
-- Times are INTEGER milliseconds since 1970, UTC. Amounts of money are INTEGER millionths of the unit.
-- Messages, events and the ledger carry users.id, never a phone number.

-- One row: which key belongs to this file, and whether it was just restored from a copy.
CREATE TABLE store_identity (
  id              INTEGER PRIMARY KEY CHECK (id = 1),
  key_fingerprint BLOB    NOT NULL CHECK (length(key_fingerprint) = 32),
  safe_hold       INTEGER NOT NULL DEFAULT 0 CHECK (safe_hold IN (0, 1)),  -- a restored copy: nothing is sent
  held_at         INTEGER,                           -- since when
  write_proofs    INTEGER NOT NULL DEFAULT 0,        -- how often readyz asked whether the file takes a write
  created_at      INTEGER NOT NULL
) STRICT;

-- What an operator changed while the server ran; the file and the environment win over it. A setting that was
-- taken away stays as null, so that the highest version is that of the last change.
CREATE TABLE settings (
  key        TEXT    PRIMARY KEY,                    -- path in the configuration: 'delivery.max_attempts'
  value      TEXT    NOT NULL,                       -- JSON
  version    INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Opens the two guarded roads below, inside the transaction that uses them and never longer.
--   retention: events with id <= upto may be deleted     erasure: the evidence of user upto may be blanked
CREATE TABLE guards (
  name TEXT    PRIMARY KEY CHECK (name IN ('retention', 'erasure')),
  upto INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- People -----------------------------------------------------------------------------------------

CREATE TABLE users (
  id                       INTEGER PRIMARY KEY,
  phone                    TEXT UNIQUE CHECK (phone GLOB '+[1-9]*' AND length(phone) BETWEEN 5 AND 16),
  channel_address          TEXT UNIQUE,              -- somebody without a number: 'whatsapp:US.1349…'
  country                  TEXT CHECK (length(country) = 2),
  consent                  TEXT NOT NULL DEFAULT 'unknown'
                           CHECK (consent = 'opt_in' OR consent = 'unknown' OR consent = 'opt_out'
                                  OR consent = 'stop'),
  hold                     TEXT CHECK (hold IN ('review')),
  reachable                INTEGER NOT NULL DEFAULT 1 CHECK (reachable IN (0, 1)),
  unreachable_reason       TEXT,
  failures                 INTEGER NOT NULL DEFAULT 0,   -- final ones in a row that say the phone can't be reached,
  last_failure_at          INTEGER,                      --   the last of them
  first_marketing_id       INTEGER,                  -- the marketing message that was their first
  recent_marketing         TEXT,                     -- the last ones handed over, [[message, at], …]: kept while a
                                                     --   frequency cap is in force
  suppressed               INTEGER NOT NULL DEFAULT 0 CHECK (suppressed IN (0, 1)),
  attributes               BLOB NOT NULL,            -- JSONB object; json(attributes) shows it
  search_words             TEXT,                     -- names and last digits, as user_words has them
  last_inbound_at          INTEGER,
  last_whatsapp_inbound_at INTEGER,                  -- the 24-hour window hangs on this
  import_id                INTEGER,                  -- the import that touched the row last, and its line:
  import_row               INTEGER,                  --   how a number that stands twice in a file is noticed; negative: that import added the person
  erased_at                INTEGER,
  created_at               INTEGER NOT NULL,
  updated_at               INTEGER NOT NULL,
  CHECK (phone IS NOT NULL OR channel_address IS NOT NULL OR erased_at IS NOT NULL)
) STRICT;
-- Who waits for a decision, by when they wrote.
CREATE INDEX users_held ON users (coalesce(last_inbound_at, 0), id) WHERE hold IS NOT NULL;

-- The few who are looked for by their state.
CREATE INDEX users_reviewed ON users (id) WHERE hold IS NOT NULL;
CREATE INDEX users_unreachable ON users (id) WHERE reachable = 0;
CREATE INDEX users_suppressed ON users (id) WHERE suppressed = 1;
CREATE INDEX users_opted_out ON users (id) WHERE consent = 'opt_out';
CREATE INDEX users_stopped ON users (id) WHERE consent = 'stop';

-- Names and last digits, to find people as one types: search_words of everybody up to the id in cursors
-- ('search'), who came in behind it follows soon. 'secure-delete' takes words out of its pages at once.
CREATE VIRTUAL TABLE user_words USING fts5 (
  search_words, content = 'users', content_rowid = 'id', detail = none, columnsize = 0, prefix = '2 3',
  tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
);
INSERT INTO user_words (user_words, rank) VALUES ('secure-delete', 1);

CREATE TABLE topics (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT NOT NULL UNIQUE COLLATE NOCASE,
  default_rule TEXT NOT NULL CHECK (default_rule IN ('opt_in_required', 'all_opted_in')),
  created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE subscriptions (
  user_id  INTEGER NOT NULL REFERENCES users (id),
  topic_id INTEGER NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
  state    TEXT    NOT NULL CHECK (state IN ('subscribed', 'unsubscribed')),
  at       INTEGER NOT NULL,
  PRIMARY KEY (user_id, topic_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_topic ON subscriptions (topic_id, state, user_id);

-- Every change of consent, for good. The digest covers the row without its evidence, and the keyed
-- hash of the evidence, so erasing the words leaves the chain whole.
CREATE TABLE consent_ledger (
  id            INTEGER PRIMARY KEY,
  user_id       INTEGER NOT NULL REFERENCES users (id),
  previous      TEXT    NOT NULL CHECK (previous = 'opt_in' OR previous = 'unknown' OR previous = 'opt_out'
                                        OR previous = 'stop'),
  state         TEXT    NOT NULL CHECK (state = 'opt_in' OR state = 'unknown' OR state = 'opt_out'
                                        OR state = 'stop'),
  source        TEXT    NOT NULL,                    -- keyword, import, api, operator, twilio, …
  actor         TEXT    NOT NULL,                    -- user, key:3, import:5, operator:1, twilio
  evidence      TEXT,
  evidence_hash BLOB,
  obtained_at   INTEGER,                             -- when the person said so, if not now
  at            INTEGER NOT NULL,
  digest        BLOB    NOT NULL CHECK (length(digest) = 32)
) STRICT;
CREATE INDEX consent_ledger_user ON consent_ledger (user_id, id);

-- One link for each write transaction that added to the ledger:
-- hash = SHA-256(previous hash, first id, last id, digests of the rows between them).
CREATE TABLE consent_links (
  id       INTEGER PRIMARY KEY,
  first_id INTEGER NOT NULL,
  last_id  INTEGER NOT NULL CHECK (last_id >= first_id),
  hash     BLOB    NOT NULL CHECK (length(hash) = 32),
  at       INTEGER NOT NULL
) STRICT;

-- Addresses that are never sent to, as HMAC-SHA-256 under the key file: they outlive erasure and
-- hold for people we don't know yet. user_id: the person with that address, if we hold one; an erased one is
-- not named. erased_at: the person wanted to be forgotten; only they lead back.
CREATE TABLE suppressions (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  address_hash BLOB    NOT NULL UNIQUE CHECK (length(address_hash) = 32),
  reason       TEXT    NOT NULL CHECK (reason = 'do_not_contact' OR reason = 'opted_out_elsewhere'
                                       OR reason = 'complaint' OR reason = 'erased'),
  source       TEXT    NOT NULL,                     -- a list's name, or who put it there
  user_id      INTEGER REFERENCES users (id),
  erased_at    INTEGER,
  created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX suppressions_reason ON suppressions (reason, id);

-- What an operator does to everybody who fits a filter: the newest first, in chunks, each with its place.
CREATE TABLE bulk_actions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  state       TEXT    NOT NULL CHECK (state = 'running' OR state = 'finished' OR state = 'cancelled'
                                      OR state = 'failed'),
  filter      TEXT    NOT NULL CHECK (json_valid(filter)),   -- as the list of people has it in its address
  action      TEXT    NOT NULL CHECK (json_valid(action)),
  reason      TEXT    NOT NULL,                      -- the operator's words
  actor       TEXT    NOT NULL,
  place       INTEGER NOT NULL,                      -- whoever has a smaller users.id is still to come
  changed     INTEGER NOT NULL DEFAULT 0,
  unchanged   INTEGER NOT NULL DEFAULT 0,            -- it was so already
  refused     TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(refused)),  -- reason to how many
  error       TEXT,
  created_at  INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;
CREATE INDEX bulk_actions_running ON bulk_actions (id) WHERE state = 'running';

-- Imports ----------------------------------------------------------------------------------------

CREATE TABLE imports (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  state       TEXT    NOT NULL CHECK (state = 'draft' OR state = 'checking' OR state = 'queued'
                                      OR state = 'running' OR state = 'finished' OR state = 'failed'),
  revision    INTEGER NOT NULL DEFAULT 0,            -- of the options: who works by older ones moves nothing
  file_name   TEXT    NOT NULL,
  spool_path  TEXT,                                  -- the copy that a restart goes on with
  format      TEXT,
  encoding    TEXT,
  options     TEXT    NOT NULL,
  actor       TEXT    NOT NULL,
  bytes       INTEGER NOT NULL DEFAULT 0,
  bytes_read  INTEGER NOT NULL DEFAULT 0,
  rows        INTEGER NOT NULL DEFAULT 0,            -- done so far: a restart begins behind them
  created     INTEGER NOT NULL DEFAULT 0,
  updated     INTEGER NOT NULL DEFAULT 0,
  unchanged   INTEGER NOT NULL DEFAULT 0,
  duplicates  INTEGER NOT NULL DEFAULT 0,
  rejected    INTEGER NOT NULL DEFAULT 0,
  reasons     TEXT    NOT NULL DEFAULT '{}',
  details     TEXT    NOT NULL DEFAULT '{}',         -- further counts
  error       TEXT,
  created_at  INTEGER NOT NULL,
  started_at  INTEGER,
  checked_at  INTEGER,                               -- of a draft: when the dry run of these options ended
  finished_at INTEGER
) STRICT;
CREATE INDEX imports_drafts ON imports (id)
  WHERE state IN ('draft', 'checking');

-- What an import changed about people whom we knew: their attributes by name, as they stood before and as it
-- wrote them (a name that is missing was not there). Kept for the undo, for [retention] import_changes_days.
CREATE TABLE import_changes (
  user_id   INTEGER NOT NULL REFERENCES users (id),
  import_id INTEGER NOT NULL,                        -- imports.id; as a foreign key, removing a draft would walk
                                                     --   over all changes
  before    TEXT    NOT NULL,
  after     TEXT    NOT NULL,
  PRIMARY KEY (user_id, import_id)
) STRICT, WITHOUT ROWID;

-- An undo that was asked for, and how far it has come.
CREATE TABLE import_undos (
  import_id   INTEGER PRIMARY KEY REFERENCES imports (id) ON DELETE CASCADE,
  actor       TEXT    NOT NULL,
  walked      INTEGER NOT NULL DEFAULT 0,            -- users.id up to which people are looked at
  restored    INTEGER NOT NULL DEFAULT 0,            -- people who got attributes back
  kept        INTEGER NOT NULL DEFAULT 0,            -- people with an attribute that somebody changed since
  asked_at    INTEGER NOT NULL,
  finished_at INTEGER
) STRICT;

-- What the columns of earlier files were taken for, by the names of the columns.
CREATE TABLE import_mappings (
  fingerprint BLOB    PRIMARY KEY CHECK (length(fingerprint) = 32),
  file_name   TEXT    NOT NULL,
  options     TEXT    NOT NULL CHECK (json_valid(options)),
  used_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE import_issues (
  import_id INTEGER NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
  row       INTEGER NOT NULL,                        -- as a spreadsheet counts: the header is row 1
  reason    TEXT    NOT NULL,
  rejected  INTEGER NOT NULL CHECK (rejected IN (0, 1)),
  column_name TEXT,
  message   TEXT    NOT NULL,
  cells     TEXT    NOT NULL,                        -- JSON object: the row as it stood in the file
  PRIMARY KEY (import_id, row, reason)
) STRICT, WITHOUT ROWID;

-- What to send, to whom ------------------------------------------------------------------------------

CREATE TABLE segments (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE,
  definition TEXT    NOT NULL CHECK (json_valid(definition)),
  version    INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE templates (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE,
  version    INTEGER NOT NULL DEFAULT 1,             -- the row of template_versions in use
  deleted_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- Texts never change: an edit adds a version, and a message keeps the one that it was made from.
CREATE TABLE template_versions (
  template_id       INTEGER NOT NULL REFERENCES templates (id),
  version           INTEGER NOT NULL,
  channel           TEXT    NOT NULL CHECK (channel IN ('sms', 'whatsapp')),
  locale            TEXT,
  body              TEXT    NOT NULL,
  media_urls        TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(media_urls)),
  content_sid       TEXT    CHECK (content_sid GLOB 'HX*'),
  content_variables TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(content_variables)),
  created_at        INTEGER NOT NULL,
  PRIMARY KEY (template_id, version)
) STRICT, WITHOUT ROWID;

-- Content templates as Twilio showed them last, and those that were asked for and have no sid yet: the row is
-- there before the request, so that a repetition finds it.
CREATE TABLE content_templates (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,
  sid              TEXT    UNIQUE CHECK (sid GLOB 'HX*'),  -- NULL: asked for; nobody knows yet whether it was made
  friendly_name    TEXT    NOT NULL,
  language         TEXT    NOT NULL,
  types            TEXT    NOT NULL CHECK (json_valid(types)),      -- Twilio's: {"twilio/text": {"body": …}}
  variables        TEXT    NOT NULL CHECK (json_valid(variables)),  -- name to sample
  names            TEXT    NOT NULL CHECK (json_valid(names)),      -- of all variables, with a sample or without
  category         TEXT,                             -- Twilio's word; before the submission, the one wanted
  status           TEXT    NOT NULL,                 -- Twilio's word, an unknown one too
  rejection_reason TEXT,
  told_at          INTEGER NOT NULL,                 -- when status was told last; older news changes nothing
  synced_at        INTEGER,                          -- when Twilio showed it last
  deleted_at       INTEGER,                          -- when it was noticed that Twilio has it no more
  created_at       INTEGER NOT NULL
) STRICT;

-- The senders of config.toml, with the id that rows refer to and what happened to each.
CREATE TABLE senders (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  address       TEXT    NOT NULL UNIQUE,             -- '+1…', 'whatsapp:+…' or 'MG…'
  kind          TEXT    NOT NULL CHECK (kind = 'whatsapp' OR kind = 'sandbox' OR kind = 'long_code'
                                        OR kind = 'toll_free' OR kind = 'ten_dlc' OR kind = 'short_code'
                                        OR kind = 'service'),
  is_configured INTEGER NOT NULL DEFAULT 1 CHECK (is_configured IN (0, 1)),
  pause_reason  TEXT,
  paused_until  INTEGER,                             -- NULL with a reason: until somebody resumes
  recipients       INTEGER NOT NULL DEFAULT 0,       -- rows of sender_recipients after …
  recipients_after INTEGER NOT NULL DEFAULT 0,       --   … this instant
  created_at    INTEGER NOT NULL
) STRICT;

-- Whom each sender wrote to of its own accord, for the limit on people a day.
CREATE TABLE sender_recipients (
  sender_id INTEGER NOT NULL REFERENCES senders (id),
  user_id   INTEGER NOT NULL REFERENCES users (id),
  at        INTEGER NOT NULL,
  PRIMARY KEY (sender_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sender_recipients_at ON sender_recipients (sender_id, at);

-- One row: the breaker that stops all sending on the account.
CREATE TABLE account (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  pause_reason TEXT,
  paused_until INTEGER
) STRICT;
INSERT INTO account (id) VALUES (1);

CREATE TABLE campaigns (
  id                    INTEGER PRIMARY KEY AUTOINCREMENT,
  name                  TEXT    NOT NULL,
  status                TEXT    NOT NULL DEFAULT 'draft'
                        CHECK (status = 'draft' OR status = 'scheduled' OR status = 'launching'
                               OR status = 'running' OR status = 'paused' OR status = 'finished'
                               OR status = 'cancelled'),
  pause_reason          TEXT,
  paused_until          INTEGER,                     -- it goes on by itself then; NULL: when somebody resumes it
  kind                  TEXT    NOT NULL CHECK (kind IN ('marketing', 'transactional')),
  channel               TEXT    NOT NULL CHECK (channel IN ('sms', 'whatsapp')),
  sender                TEXT,                        -- NULL: the first configured one of the channel
  topic_id              INTEGER REFERENCES topics (id),
  template_id           INTEGER NOT NULL REFERENCES templates (id),
  template_version      INTEGER,                     -- frozen at launch
  segment_id            INTEGER REFERENCES segments (id),
  exclude_segment_ids   TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(exclude_segment_ids)),
  definition            TEXT,                        -- segment without exclusions, frozen at launch
  trigger_type          TEXT,
  schedule_at           TEXT,                        -- civil time as it was given: '2026-12-01T09:00:00'
  schedule_timezone     TEXT,
  local_to_recipient    INTEGER NOT NULL DEFAULT 0 CHECK (local_to_recipient IN (0, 1)),
  starts_at             INTEGER,                     -- the same as an instant
  if_missed             TEXT    NOT NULL DEFAULT 'send' CHECK (if_missed = 'send' OR if_missed = 'skip'
                                                               OR if_missed = 'ask'),
  late_hours            REAL    NOT NULL DEFAULT 4,
  rate_limit_per_second REAL    CHECK (rate_limit_per_second > 0),
  quiet_hours           TEXT,                        -- JSON: null (preset), "off", a window, {"preset":…}
  expires_after_hours   REAL    CHECK (expires_after_hours > 0),
  spend_cap_micros      INTEGER CHECK (spend_cap_micros >= 0),
  expires_at            INTEGER,
  max_recipients        INTEGER CHECK (max_recipients > 0),
  frozen_through        INTEGER,                     -- users.id up to which the audience is frozen,
  frozen_last           INTEGER,                     --   of those there were at the launch
  version               INTEGER NOT NULL DEFAULT 1,  -- of the edit; the ETag
  created_at            INTEGER NOT NULL,
  updated_at            INTEGER NOT NULL,
  launched_at           INTEGER,
  finished_at           INTEGER,
  CHECK ((segment_id IS NULL) <> (trigger_type IS NULL))
) STRICT;
CREATE INDEX campaigns_live ON campaigns (status)
  WHERE status IN ('scheduled', 'launching', 'running', 'paused');
CREATE INDEX campaigns_segment ON campaigns (segment_id);
CREATE INDEX campaigns_template ON campaigns (template_id);
CREATE INDEX campaigns_excluding ON campaigns (id) WHERE exclude_segment_ids <> '[]';
CREATE INDEX campaigns_status ON campaigns (status);

-- Messages -----------------------------------------------------------------------------------------

-- The row is the queue. Indexes: the key, the UNIQUE, (user, id), and partial ones over what waits, what failed,
-- and single messages with a topic or a reference.
CREATE TABLE messages (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,
  campaign_id      INTEGER REFERENCES campaigns (id),
  user_id          INTEGER NOT NULL REFERENCES users (id),
  occasion         TEXT    NOT NULL DEFAULT '',      -- '' launch, a trigger's id, 'test:…', a run
  status           TEXT    NOT NULL DEFAULT 'queued'
                   CHECK (status = 'queued' OR status = 'sending' OR status = 'uncertain'
                          OR status = 'accepted' OR status = 'sent' OR status = 'delivered'
                          OR status = 'read' OR status = 'failed' OR status = 'undelivered'
                          OR status = 'expired' OR status = 'skipped' OR status = 'cancelled'),
  reason           TEXT,                             -- why it waits, was skipped, failed, …
  kind             TEXT    NOT NULL CHECK (kind = 'marketing' OR kind = 'transactional' OR kind = 'reply'
                                           OR kind = 'confirmation'),
  channel          TEXT    NOT NULL CHECK (channel IN ('sms', 'whatsapp')),
  lane             INTEGER NOT NULL,                 -- the queue it waits in: the campaign's id, or
                                                     --   -(2·sender + 1) transactional, -(2·sender) other
  due_at           INTEGER NOT NULL,                 -- not before
  closes_at        INTEGER NOT NULL DEFAULT 253402300799000,  -- the person's window ends: earliest first
  expires_at       INTEGER,
  attempts         INTEGER NOT NULL DEFAULT 0,
  sender_id        INTEGER REFERENCES senders (id),
  topic_id         INTEGER,                          -- topics.id; as a foreign key, removing a topic would
                                                     --   walk over all messages
  template_id      INTEGER,
  template_version INTEGER,
  variables        TEXT    CHECK (json_valid(variables)),  -- of a single message; a trigger keeps its own
  reference        TEXT,
  body             TEXT,                             -- as it went out
  media_urls       TEXT    CHECK (json_valid(media_urls)),
  parts            INTEGER,
  sid              TEXT,
  error_code       INTEGER,
  price_micros     INTEGER,
  price_unit       TEXT,
  is_simulated     INTEGER NOT NULL DEFAULT 0 CHECK (is_simulated IN (0, 1)),
  last_event_id    INTEGER,                          -- head of the message's own chain of events
  created_at       INTEGER NOT NULL,
  accepted_at      INTEGER,
  sent_at          INTEGER,
  delivered_at     INTEGER,
  read_at          INTEGER,
  body_removed_at  INTEGER,                          -- when retention took body, variables and media
  UNIQUE (campaign_id, user_id, occasion)
) STRICT;
CREATE INDEX messages_user ON messages (user_id, id);
CREATE INDEX messages_queue ON messages (lane, closes_at, due_at) WHERE status = 'queued';
CREATE INDEX messages_failed ON messages (status, id) WHERE status IN ('failed', 'undelivered');
CREATE INDEX messages_topic ON messages (topic_id) WHERE campaign_id IS NULL AND topic_id IS NOT NULL;
CREATE INDEX messages_reference ON messages (reference) WHERE reference IS NOT NULL;

-- One hand-over of a message to Twilio.
CREATE TABLE attempts (
  message_id    INTEGER NOT NULL REFERENCES messages (id),
  number        INTEGER NOT NULL CHECK (number >= 1),
  sender_id     INTEGER NOT NULL REFERENCES senders (id),
  outcome       TEXT    NOT NULL DEFAULT 'pending'
                CHECK (outcome = 'pending' OR outcome = 'accepted' OR outcome = 'refused'
                       OR outcome = 'uncertain' OR outcome = 'withdrawn' OR outcome = 'settled'
                       OR outcome = 'put_back' OR outcome = 'given_up'),
  started_at    INTEGER NOT NULL,
  answered_at   INTEGER,
  http_status   INTEGER,
  sid           TEXT,
  status        TEXT,                                -- Twilio's own last word on this attempt
  error_code    INTEGER,
  error_message TEXT,
  look_at       INTEGER,                             -- when to look for it in Twilio's list
  charge_micros INTEGER,                             -- by the price table, later by Twilio; 0 when nothing is
                                                     --   charged, NULL while nobody knows
  PRIMARY KEY (message_id, number),
  CHECK (look_at IS NULL OR outcome = 'uncertain')
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempts_sid ON attempts (sid) WHERE sid IS NOT NULL;
CREATE INDEX attempts_open ON attempts (outcome, message_id) WHERE outcome IN ('pending', 'uncertain');
CREATE INDEX attempts_look ON attempts (look_at) WHERE look_at IS NOT NULL;

-- What came from Twilio: the raw parameters in their order, and what was read out of them.
-- A row is 'pending' when its effect failed and waits for a replay.
CREATE TABLE inbound (
  id           INTEGER PRIMARY KEY,
  message_sid  TEXT    NOT NULL UNIQUE,
  state        TEXT    NOT NULL CHECK (state IN ('pending', 'done')),
  source       TEXT    NOT NULL CHECK (source IN ('webhook', 'catch_up')),
  user_id      INTEGER REFERENCES users (id),        -- NULL: unmatched
  from_address TEXT,
  to_address   TEXT,
  channel      TEXT    CHECK (channel IN ('sms', 'whatsapp')),
  kind         TEXT    CHECK (kind = 'message' OR kind = 'stop' OR kind = 'start' OR kind = 'help'
                              OR kind = 'subscribe' OR kind = 'unsubscribe' OR kind = 'review'
                              OR kind = 'unmatched'),
  body         TEXT,
  media        TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(media)),
  reply        TEXT,                                 -- what the webhook's answer said back
  params       TEXT    CHECK (json_valid(params)),   -- [["From","+1…"],…]; NULL after erasure or retention
  error        TEXT,
  received_at  INTEGER NOT NULL,                     -- catch_up: when Twilio got it, by its clock
  params_removed_at INTEGER,                         -- when retention took the raw parameters
  body_removed_at   INTEGER                          -- … and the words
) STRICT;
CREATE INDEX inbound_user ON inbound (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX inbound_pending ON inbound (id) WHERE state = 'pending';
CREATE INDEX inbound_nobody ON inbound (id) WHERE user_id IS NULL;

-- The inbox: one row for each person who wrote, or whom an operator answered. It holds ids and times; the words
-- stay where they are. Written with every message from a person, so it has one index; the two open states are two
-- stretches of it that a page merges.
CREATE TABLE conversations (
  user_id         INTEGER PRIMARY KEY REFERENCES users (id),
  state           TEXT    NOT NULL CHECK (state = 'unread' OR state = 'read' OR state = 'closed'),
  last_at         INTEGER NOT NULL,                  -- when either side wrote last
  last_inbound_id INTEGER,                           -- inbound.id
  last_message_id INTEGER,                           -- our last answer, messages.id
  read_id         INTEGER NOT NULL DEFAULT 0,        -- inbound.id up to which somebody has read
  assigned_to     INTEGER REFERENCES operators (id)
) STRICT;
CREATE INDEX conversations_list ON conversations (state, last_at, user_id);
CREATE INDEX conversations_mine ON conversations (assigned_to, state, last_at, user_id)
  WHERE assigned_to IS NOT NULL;

-- Which operator wrote a message by hand.
CREATE TABLE replies (
  message_id  INTEGER PRIMARY KEY REFERENCES messages (id),
  operator_id INTEGER NOT NULL REFERENCES operators (id)
) STRICT;

CREATE TABLE canned_replies (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  body       TEXT    NOT NULL,                       -- with variables, as in a template
  version    INTEGER NOT NULL DEFAULT 1,             -- of the edit
  updated_by TEXT    NOT NULL,                       -- operator:3
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE receipts (
  id          INTEGER PRIMARY KEY,
  sid         TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  error_code  INTEGER NOT NULL DEFAULT 0,
  state       TEXT    NOT NULL CHECK (state = 'pending' OR state = 'done' OR state = 'unmatched'),
  message_id  INTEGER REFERENCES messages (id),
  attempt     INTEGER,
  params      TEXT    CHECK (json_valid(params)),
  error       TEXT,
  received_at INTEGER NOT NULL,
  params_removed_at INTEGER,                         -- when retention took the raw parameters
  UNIQUE (sid, status, error_code)
) STRICT;
CREATE INDEX receipts_pending ON receipts (id) WHERE state = 'pending';
CREATE INDEX receipts_unmatched ON receipts (id) WHERE state = 'unmatched';

-- Business events that start messages. An id is taken once, for good. One that is taken back, by a later event
-- or an earlier one, names it in cancelled_by: none of its messages that still waits is sent.
CREATE TABLE triggers (
  id           TEXT    NOT NULL PRIMARY KEY,
  type         TEXT    NOT NULL,
  occurred_at  INTEGER NOT NULL,
  user_id      INTEGER REFERENCES users (id),
  segment      TEXT    CHECK (json_valid(segment)),
  data         TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(data)),
  send_at      INTEGER,
  cancels      TEXT,
  cancelled_by TEXT,
  received_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX triggers_user ON triggers (user_id, type, occurred_at) WHERE user_id IS NOT NULL;
CREATE INDEX triggers_cancels ON triggers (cancels) WHERE cancels IS NOT NULL;

-- How far the people of a trigger's segment have become messages of a campaign; once it is cancelled, how far
-- those messages were taken back.
CREATE TABLE trigger_audiences (
  campaign_id  INTEGER NOT NULL REFERENCES campaigns (id),
  trigger_id   TEXT    NOT NULL REFERENCES triggers (id),
  is_open      INTEGER NOT NULL DEFAULT 1 CHECK (is_open IN (0, 1)),  -- something is left to be done
  is_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (is_cancelled IN (0, 1)),
  through      INTEGER NOT NULL DEFAULT 0,           -- users.id up to which it is done,
  last         INTEGER NOT NULL,                     --   of those there were when the event came
  PRIMARY KEY (campaign_id, trigger_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX trigger_audiences_open ON trigger_audiences (is_open) WHERE is_open = 1;
CREATE INDEX trigger_audiences_trigger ON trigger_audiences (trigger_id);

-- How far walks over something that grows have come: polls, look-ups, catch-up.
CREATE TABLE cursors (
  name     TEXT    PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened ------------------------------------------------------------------------------------

-- Audit trail, timeline and public stream at once. Events of one message are a chain: previous_id
-- leads from the newest to the oldest, so no index on the message is needed.
CREATE TABLE events (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  type        TEXT    NOT NULL,
  at          INTEGER NOT NULL,
  user_id     INTEGER,
  campaign_id INTEGER,
  message_id  INTEGER,
  previous_id INTEGER,
  data        TEXT    NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX events_user ON events (user_id, id) WHERE user_id IS NOT NULL AND message_id IS NULL;

CREATE TRIGGER events_are_final BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are final'); END;
CREATE TRIGGER events_go_by_retention_only BEFORE DELETE ON events
WHEN NOT EXISTS (SELECT 1 FROM guards WHERE name = 'retention' AND OLD.id <= upto)
BEGIN SELECT RAISE(ABORT, 'events are deleted by retention only'); END;

CREATE TRIGGER ledger_keeps_rows BEFORE DELETE ON consent_ledger
BEGIN SELECT RAISE(ABORT, 'the consent ledger keeps its rows'); END;
CREATE TRIGGER ledger_is_final BEFORE UPDATE ON consent_ledger
WHEN NOT (NEW.evidence IS NULL
          AND NEW.id = OLD.id AND NEW.user_id = OLD.user_id AND NEW.previous = OLD.previous
          AND NEW.state = OLD.state AND NEW.source = OLD.source AND NEW.actor = OLD.actor
          AND NEW.evidence_hash IS OLD.evidence_hash AND NEW.obtained_at IS OLD.obtained_at
          AND NEW.at = OLD.at AND NEW.digest = OLD.digest
          AND EXISTS (SELECT 1 FROM guards WHERE name = 'erasure' AND upto = OLD.user_id))
BEGIN SELECT RAISE(ABORT, 'the consent ledger is final'); END;
CREATE TRIGGER links_are_final BEFORE UPDATE ON consent_links
BEGIN SELECT RAISE(ABORT, 'the consent chain is final'); END;
CREATE TRIGGER links_stay BEFORE DELETE ON consent_links
BEGIN SELECT RAISE(ABORT, 'the consent chain keeps its links'); END;

-- Outbound webhooks --------------------------------------------------------------------------------

-- Who is told of events. An endpoint keeps its place in the table of events, so an event costs nothing here
-- until it is delivered.
CREATE TABLE webhook_endpoints (
  id                    INTEGER PRIMARY KEY AUTOINCREMENT,
  url                   TEXT    NOT NULL,
  description           TEXT    NOT NULL DEFAULT '',
  types                 TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(types)),  -- empty: every event
  is_enabled            INTEGER NOT NULL DEFAULT 1 CHECK (is_enabled IN (0, 1)),
  disabled_reason       TEXT,
  secret                BLOB    NOT NULL,            -- sealed under the key file
  previous_secret       BLOB,                        -- the one before it, which signs too until …
  previous_secret_until INTEGER,
  position              INTEGER NOT NULL,            -- events.id up to which everything was tried
  failures              INTEGER NOT NULL DEFAULT 0,  -- in a row
  failing_since         INTEGER,                     -- since when nothing but failures
  is_alerted            INTEGER NOT NULL DEFAULT 0 CHECK (is_alerted IN (0, 1)),
  resting_until         INTEGER,                     -- it said 429
  last_attempt_at       INTEGER,
  last_success_at       INTEGER,
  created_at            INTEGER NOT NULL,
  updated_at            INTEGER NOT NULL
) STRICT;

-- What was tried: one row for each event and endpoint, written after the request. Pruned after some days.
CREATE TABLE webhook_deliveries (
  endpoint_id INTEGER NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
  event_id    INTEGER NOT NULL,                      -- no foreign key: events go by retention
  event_type  TEXT    NOT NULL,
  status      TEXT    NOT NULL CHECK (status = 'pending' OR status = 'delivered' OR status = 'failed'),
  attempts    INTEGER NOT NULL DEFAULT 0,            -- requests in all
  tries       INTEGER NOT NULL DEFAULT 0,            -- of those, since it was last asked for by hand
  http_status INTEGER,
  latency_ms  INTEGER,
  error       TEXT,
  next_at     INTEGER,                               -- when it is tried again
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (endpoint_id, event_id),
  CHECK ((next_at IS NOT NULL) = (status = 'pending'))
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (endpoint_id, next_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (endpoint_id, event_id) WHERE status = 'failed';

-- Counts that pages show, written in the transaction that changes the rows they count.
CREATE TABLE campaign_counts (
  campaign_id INTEGER NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
  status      TEXT    NOT NULL,
  reason      TEXT    NOT NULL DEFAULT '',
  error_code  INTEGER NOT NULL DEFAULT 0,
  n           INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, status, reason, error_code)
) STRICT, WITHOUT ROWID;

-- Sums over a campaign that no status tells: parts, price, replies, opt-outs, part-less time stamps.
CREATE TABLE campaign_sums (
  campaign_id       INTEGER PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
  parts             INTEGER NOT NULL DEFAULT 0,
  priced            INTEGER NOT NULL DEFAULT 0,      -- messages whose price is known
  price_micros      INTEGER NOT NULL DEFAULT 0,
  price_unit        TEXT,                            -- the currency in which the provider told the last one
  spent_micros      INTEGER NOT NULL DEFAULT 0,      -- charges of the attempts, as far as they are known …
  unpriced          INTEGER NOT NULL DEFAULT 0,      --   … and of how many they are not
  replies           INTEGER NOT NULL DEFAULT 0,
  opt_outs          INTEGER NOT NULL DEFAULT 0,
  accepted          INTEGER NOT NULL DEFAULT 0,      -- ever accepted, whatever became of it
  first_accepted_at INTEGER,
  last_accepted_at  INTEGER
) STRICT;

-- How many messages a campaign handed over and saw arrive, by span of time, for the plot of its run. All spans of a
-- campaign have the same length, which doubles when they become too many.
CREATE TABLE campaign_pace (
  campaign_id INTEGER NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
  at          INTEGER NOT NULL,                      -- when the span begins
  seconds     INTEGER NOT NULL CHECK (seconds > 0),  -- how long it is
  handed_over INTEGER NOT NULL,                      -- taken by Twilio for the first time
  delivered   INTEGER NOT NULL,                      -- arrived, read or not
  PRIMARY KEY (campaign_id, at)
) STRICT, WITHOUT ROWID;

-- How often each kind of event happened on a UTC day (days since 1970), and 'opt_out': that a person we knew opted
-- out or said STOP.
CREATE TABLE daily_counts (
  day  INTEGER NOT NULL,
  type TEXT    NOT NULL,
  n    INTEGER NOT NULL,
  PRIMARY KEY (day, type)
) STRICT, WITHOUT ROWID;

-- How often each of the provider's codes ended a message on a UTC day (days since 1970).
CREATE TABLE daily_errors (
  day        INTEGER NOT NULL,
  error_code INTEGER NOT NULL,
  n          INTEGER NOT NULL,
  PRIMARY KEY (day, error_code)
) STRICT, WITHOUT ROWID;

-- What the attempts that began on a UTC day (days since 1970) are charged, as far as it is known, and of how
-- many it is not.
CREATE TABLE daily_spending (
  day          INTEGER PRIMARY KEY,
  spent_micros INTEGER NOT NULL,
  unpriced     INTEGER NOT NULL
) STRICT;

CREATE TABLE user_counts (
  consent TEXT    PRIMARY KEY CHECK (consent = 'opt_in' OR consent = 'unknown' OR consent = 'opt_out'
                                     OR consent = 'stop'),
  n       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO user_counts (consent, n) VALUES ('opt_in', 0), ('unknown', 0), ('opt_out', 0), ('stop', 0);

-- The attribute catalogue: counted by a walk over everybody beside the writer, so that a change of a person costs
-- no more for it than the count of changes here.
CREATE TABLE attribute_walks (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  changes      INTEGER NOT NULL DEFAULT 0,           -- people added, changed, erased
  erasures     INTEGER NOT NULL DEFAULT 0,
  seen_changes INTEGER NOT NULL DEFAULT -1,          -- changes when the walk that the catalogue comes from began
  as_of        INTEGER,                              -- when it began
  people       INTEGER NOT NULL DEFAULT 0,           -- whom it saw
  is_cut       INTEGER NOT NULL DEFAULT 0 CHECK (is_cut IN (0, 1))  -- there are more names than rows
) STRICT;
INSERT INTO attribute_walks (id) VALUES (1);

CREATE TABLE attributes (
  name      TEXT    PRIMARY KEY,                     -- path: 'city', 'address.city'
  people    INTEGER NOT NULL,
  kinds     TEXT    NOT NULL CHECK (json_valid(kinds)),
  is_exact  INTEGER NOT NULL CHECK (is_exact IN (0, 1)),
  is_varied INTEGER NOT NULL CHECK (is_varied IN (0, 1)),
  as_of     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attribute_examples (
  name    TEXT    NOT NULL,
  user_id INTEGER NOT NULL REFERENCES users (id),    -- whose value it is
  value   TEXT    NOT NULL,
  PRIMARY KEY (name, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX attribute_examples_user ON attribute_examples (user_id);

-- Values that at least three people share.
CREATE TABLE attribute_values (
  name  TEXT    NOT NULL,
  value TEXT    NOT NULL,
  n     INTEGER NOT NULL,
  PRIMARY KEY (name, value)
) STRICT, WITHOUT ROWID;

-- Who may come in ----------------------------------------------------------------------------------

CREATE TABLE operators (
  id                  INTEGER PRIMARY KEY AUTOINCREMENT,
  email               TEXT    NOT NULL UNIQUE COLLATE NOCASE,
  password_hash       TEXT,                          -- argon2id, PHC string; none yet: a link sets it
  password_changed_at INTEGER,
  role                TEXT    NOT NULL CHECK (role = 'admin' OR role = 'operator' OR role = 'viewer'),
  totp_secret         BLOB,                          -- sealed under the key file
  totp_enabled_at     INTEGER,                       -- a secret without it waits for its first code
  totp_last_step      INTEGER,                       -- the last code that let somebody in: each does so once
  zone                TEXT,                          -- IANA name; none: the browser's or UTC
  theme               TEXT    NOT NULL DEFAULT 'auto' CHECK (theme = 'auto' OR theme = 'light' OR theme = 'dark'),
  has_shortcuts       INTEGER NOT NULL DEFAULT 1 CHECK (has_shortcuts IN (0, 1)),
  created_at          INTEGER NOT NULL,
  last_login_at       INTEGER,
  disabled_at         INTEGER,
  CHECK (totp_enabled_at IS NULL OR totp_secret IS NOT NULL)
) STRICT;

-- What lets somebody in whose authenticator is lost. A row goes when it is used.
CREATE TABLE recovery_codes (
  operator_id INTEGER NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
  code_hash   BLOB    NOT NULL CHECK (length(code_hash) = 32),  -- HMAC under the key file
  PRIMARY KEY (operator_id, code_hash)
) STRICT, WITHOUT ROWID;

-- Links that set a password once: of the first admin (without an operator), or of one that is there.
CREATE TABLE one_time_links (
  token_hash  BLOB    PRIMARY KEY CHECK (length(token_hash) = 32),  -- SHA-256 of 256 random bits
  operator_id INTEGER REFERENCES operators (id) ON DELETE CASCADE,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  used_at     INTEGER
) STRICT, WITHOUT ROWID;

-- Operators who are logged in.
CREATE TABLE sessions (
  token_hash   BLOB    PRIMARY KEY CHECK (length(token_hash) = 32),       -- SHA-256 of 256 random bits
  operator_id  INTEGER NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
  created_at   INTEGER NOT NULL,
  last_seen_at INTEGER NOT NULL,                     -- to the minute
  proved_at    INTEGER NOT NULL                      -- when the password was given last
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_operator ON sessions (operator_id);

-- Which events are what somebody did here: all of operators, and every change of access or settings. They go with
-- their events.
CREATE TABLE audit (
  event_id INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  actor    TEXT    NOT NULL,                         -- 'operator:3', 'key:1', 'command:ana'; empty: a stranger
  type     TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_actor ON audit (actor, event_id);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE api_keys (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  name         TEXT    NOT NULL,
  secret_hash  BLOB    NOT NULL UNIQUE CHECK (length(secret_hash) = 32),  -- SHA-256 of 256 random bits
  scopes       TEXT    NOT NULL,                     -- 'read,write,send,admin'
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER,
  last_used_at INTEGER,
  revoked_at   INTEGER
) STRICT;

CREATE TABLE idempotency_keys (
  caller     TEXT    NOT NULL,                       -- 'key:3', 'operator:2'
  path       TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  body_hash  BLOB    NOT NULL CHECK (length(body_hash) = 32),
  status     INTEGER NOT NULL,
  body       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (caller, path, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

INSERT INTO topics (name, default_rule, created_at) VALUES ('general', 'all_opted_in', 0);
