/* journal_internal.h - what the journal's files share: places in a segment, the record codec, the segment list.
 *
 * For journal_*.c and their tests alone. The bytes are described in docs/formats/journal.md.
 *
 * Life of a segment file
 *   new file or spare --journal_commit--> current --full, cut or failed--> live --journal_release--> spare
 *                                                                          live, damaged ---------> quarantine
 *   A file whose first commit failed is removed. Spares are whole (every byte written once) or short (still growing).
 *
 * Locks    journal.lock guards the lists and the numbers that release, prepare and stats share with the committer;
 *          it is never held over reading, writing or syncing a segment.
 */
#pragma once

#include "narthex/base/assert.h"
#include "narthex/base/thread.h"
#include "narthex/head/journal.h"

#define JOURNAL_FORMAT_VERSION 3u
#define JOURNAL_PAGE_BYTES     4096u
#define JOURNAL_HEADER_BYTES   128u  /* of a segment; twice in its first page */
#define JOURNAL_HEADER_COPY    2048u /* where the second copy is */
#define JOURNAL_COMMIT_HEADER  64u
#define JOURNAL_RECORD_HEADER  32u
#define JOURNAL_RECORD_SAMPLES 4096u /* measured: larger records compress no better */
#define JOURNAL_ENTRIES_RAW                                                                        \
 (128u << 10) /* a record of definitions or side entries is closed when it reaches this */
#define JOURNAL_RECORD_RAW_MAX JOURNAL_COMMIT_BYTES_MAX
#define JOURNAL_SEGMENT_MIN    (1u << 20)
/* chosen: 134 million series; bounds what a hostile file can make us allocate */
#define JOURNAL_SLOT_LIMIT (1u << 27)
/* the head's shard in a slot's low bits: rotated away before taking deltas */
#define JOURNAL_SHARD_BITS 4u
#define JOURNAL_ZSTD_LEVEL 1

static_assert(JOURNAL_HEADER_COPY + JOURNAL_HEADER_BYTES <= JOURNAL_PAGE_BYTES,
              "both headers fit the first page");
static_assert(JOURNAL_COMMIT_HEADER % 8 == 0 && JOURNAL_RECORD_HEADER % 8 == 0,
              "records stay aligned");

static inline void le32_put(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static inline void le64_put(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static inline uint32_t le32_get(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline uint64_t le64_get(const uint8_t *in)
{
    return (uint64_t)le32_get(in) | (uint64_t)le32_get(in + 4) << 32;
}

static inline uint64_t journal_align(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* ---- records (journal_record.c) ---- */

/* The last value of each slot in this segment and how it was coded: what the next one is coded against. */
struct journal_base {
    uint64_t bits;
    uint64_t control; /* a byte */
};
static_assert(sizeof(struct journal_base) == 16, "one cache line a sample");
struct journal_bases {
    struct journal_base **pages; /* of JOURNAL_BASE_PAGE each, NULL until touched */
    size_t page_count;
};
#define JOURNAL_BASE_PAGE 512u

void journal_bases_reset(struct journal_bases *bases); /* all zero, memory kept */
void journal_bases_deinit(struct journal_bases *bases);

enum journal_record_type {
    JOURNAL_RECORD_DEFINITIONS = 1,
    JOURNAL_RECORD_SAMPLE_COLUMNS = 2,
    JOURNAL_RECORD_HISTOGRAMS = JOURNAL_BLOB_HISTOGRAM,
    JOURNAL_RECORD_EXEMPLARS = JOURNAL_BLOB_EXEMPLAR,
    JOURNAL_RECORD_METADATA = JOURNAL_BLOB_METADATA,
};

/* Columns of one record and the tables for coding them; one per journal. */
struct journal_codec {
    struct journal_bases bases;
    struct nx_buf raw;
    uint32_t slots[JOURNAL_RECORD_SAMPLES];
    int64_t times_ms[JOURNAL_RECORD_SAMPLES];
    uint64_t value_bits[JOURNAL_RECORD_SAMPLES];
    struct journal_base *base_of[JOURNAL_RECORD_SAMPLES]; /* scratch: where each sample's base is */
    int64_t distinct_ms[JOURNAL_RECORD_SAMPLES];
    uint16_t time_index[JOURNAL_RECORD_SAMPLES];
    uint16_t time_table[2 * JOURNAL_RECORD_SAMPLES]; /* open addressing: index + 1, 0 empty */
};
void journal_codec_init(struct journal_codec *codec);
void journal_codec_deinit(struct journal_codec *codec);

/* Largest size of a record of `count` samples, header and padding included. */
static inline size_t journal_samples_bound(size_t count)
{
    return JOURNAL_RECORD_HEADER + 32 + count * (10 + 5 + 2 + 1 + 8);
}

/* Appends a whole record to `out`: codec->slots etc. hold `count` samples. `offset` is where the record will stand. */
void journal_record_put_samples(struct journal_codec *codec, size_t count, uint64_t epoch,
                                uint64_t offset, struct nx_buf *out);
/* Same for definitions or side entries as journal_buffer_define or journal_buffer_push_blob wrote them. */
void journal_record_put_entries(enum journal_record_type type, struct nx_bytes raw, size_t count,
                                uint64_t epoch, uint64_t offset, struct nx_buf *out);

/* A record's header, already judged plausible against `left` bytes: lengths fit. */
struct journal_record {
    uint64_t checksum;
    uint64_t values_hash;
    uint32_t payload_bytes;
    uint32_t raw_bytes;
    uint32_t count;
    uint8_t type;
    uint8_t is_packed;
    size_t bytes; /* header, payload and padding */
};
/* False: the header is not one (too short, unknown type, lengths out of bounds). Does not look at the checksum. */
bool journal_record_parse(struct nx_bytes at, struct journal_record *out);
/* Whether header and payload verify at this place. */
bool journal_record_verifies(struct nx_bytes at, const struct journal_record *record,
                             uint64_t epoch, uint64_t offset);

/* Columns into codec->slots, times_ms, value_bits; moves the bases. NX_E_CORRUPT: not what an encoder writes, or
 * coded against values that are not here (a record before it was lost). */
NX_NODISCARD nx_code journal_record_get_samples(struct journal_codec *codec,
                                                const struct journal_record *record,
                                                struct nx_bytes payload);
/* Calls visitor->define for each; NX_E_CORRUPT, or what the visitor said (*out_is_visitor then). */
NX_NODISCARD nx_code journal_record_get_definitions(struct journal_codec *codec,
                                                    const struct journal_record *record,
                                                    struct nx_bytes payload,
                                                    const struct journal_visitor *visitor,
                                                    bool *out_is_visitor, struct nx_err *err);
/* Same, visitor->blob for each side entry. All are looked at before the first is handed over. */
NX_NODISCARD nx_code journal_record_get_blobs(struct journal_codec *codec,
                                              const struct journal_record *record,
                                              struct nx_bytes payload,
                                              const struct journal_visitor *visitor,
                                              bool *out_is_visitor, struct nx_err *err);

/* ---- commits ---- */

struct journal_commit_header {
    uint64_t number;
    uint64_t epoch;
    uint64_t sequence;
    uint64_t sample_count;
    uint32_t bytes; /* header and records, padding to the page not included */
    uint32_t record_count;
};
void journal_commit_header_put(uint8_t out[JOURNAL_COMMIT_HEADER],
                               const struct journal_commit_header *header, uint64_t offset);
/* False unless it verifies at this place. epoch 0: whichever epoch it names. */
bool journal_commit_header_get(const uint8_t in[JOURNAL_COMMIT_HEADER], uint64_t epoch,
                               uint64_t offset, struct journal_commit_header *out);

/* ---- segments (journal_segment.c) ---- */

struct journal_segment {
    char *path;
    uint64_t file_bytes; /* as far as the file has blocks */
    uint64_t sequence;   /* 0: a spare that has no meaning */
    uint64_t epoch;
    uint64_t capacity; /* bytes that may be used */
    uint64_t first_commit;
    uint64_t last_commit; /* first_commit - 1: none yet */
    uint64_t prior_sequence;
    uint64_t
        prior_end; /* where the prior segment's records end; 0 with a prior_sequence: not known */
    uint64_t end;  /* of what is committed in it */
    uint64_t sample_count;
    bool is_new_file;   /* its directory entry is not synced yet */
    bool is_start_torn; /* zeros where the header should be, and a first commit */
    bool is_damaged;
    char damage[200]; /* why, for the reason file */
};
void journal_segment_free(struct journal_segment *segment); /* NULL is fine */

struct journal_segment_list {
    struct journal_segment **items;
    size_t count;
    size_t cap;
};
void segment_list_add(struct journal_segment_list *list, struct journal_segment *segment);
struct journal_segment *segment_list_take(struct journal_segment_list *list,
                                          size_t index); /* order is kept */

/* What a file's first bytes say it is. */
enum journal_file_kind {
    JOURNAL_FILE_SPARE,      /* nothing was ever committed in it, or it was only zeroed */
    JOURNAL_FILE_SEGMENT,    /* a header that verifies */
    JOURNAL_FILE_HEADERLESS, /* header lost, first commit verifies: a damaged segment */
    JOURNAL_FILE_UNKNOWN,    /* neither */
    JOURNAL_FILE_OTHER_FORMAT,
};
void journal_segment_header_put(uint8_t out[JOURNAL_PAGE_BYTES],
                                const struct journal_segment *segment);
/* `bytes` <= two pages: header page and first commit's page. Fills sequence, epoch, capacity, commits, prior. */
enum journal_file_kind journal_segment_header_get(struct nx_bytes bytes,
                                                  struct journal_segment *out,
                                                  uint32_t *out_version);

struct journal {
    const struct io *io;    /* [I] */
    char *dir;              /* [I] */
    char *quarantine_dir;   /* [I] may be NULL */
    uint64_t segment_bytes; /* [I] */
    bool is_replay_ahead;   /* [I] */

    struct nx_mutex lock;
    struct journal_segment_list found;  /* between open and replay: every segment, by sequence */
    struct journal_segment_list live;   /* [L:lock] closed, not released; by sequence */
    struct journal_segment_list spares; /* [L:lock] */
    struct journal_segment *current;    /* [L:lock] to change; its contents are the committer's */
    uint64_t last_commit;               /* [L:lock] to change */
    uint64_t next_name;                 /* [L:lock] */
    uint64_t next_sequence;             /* committer */
    size_t spares_wanted;               /* [L:lock] at most so many are kept at a release */

    /* Where records end that the next segment's header tells of. Committer. */
    uint64_t tail_sequence;
    uint64_t tail_end;
    /* After a replay: the last commit may only be in the page cache. It is written again in place and synced before
     * anything is acknowledged. [L:lock] */
    struct {
        char *path; /* NULL: nothing to settle */
        uint64_t sequence;
        uint64_t begin, end;
        uint8_t *header; /* the segment's first page when that has to be written too, else NULL */
    } unsettled;

    int fd; /* of current; -1 */
    bool is_replayed;
    struct nx_buf out;           /* [header page][commit], reused */
    struct nx_buf joined;        /* side entries of all buffers; committer */
    struct journal_codec *codec; /* committer; replay before it */

    struct { /* the spare being zeroed; the preparing thread's */
        struct journal_segment *segment;
        int fd;
    } preparing;
};

/* A spare (whole ones first) or a new file, with its number and epoch, open in journal->fd, as journal->current. */
NX_NODISCARD nx_code journal_roll(struct journal *journal, struct nx_err *err);
/* current becomes live, or is removed when nothing was committed in it. */
void journal_retire_current(struct journal *journal);
void journal_unsettled_clear(struct journal *journal);
/* Puts a released or unneeded segment where it belongs: spares, quarantine, or away. */
void journal_dispose(struct journal *journal, struct journal_segment *segment);
void journal_note_damage(struct journal_segment *segment, const char *format, ...) NX_PRINTF(2, 3);
