/* The arrays that pcaptool.decode's kernels fill, filled by a C program: what decoding takes at least.
 *
 *     cc -O3 -march=native -o floor tests/bench/floor.c && ./floor FILE ROUNDS [FOLDER]
 *
 * Prints the seconds of each round, without those of reading and with them. With a folder it writes each array of the
 * whole capture into a file there, by which tests/bench/floor.py sees that they are the same.
 * Ethernet (VLAN), IPv4 and IPv6 without extension headers, TCP with its options, UDP; little-endian pcap files of
 * nanoseconds. It knows no tunnels, fragments, errors, other links or byte orders, and of cut packets only that it does
 * not read beyond them: less than the kernels do.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 16160, BLOCK = 12 << 20, NAMES = 1 << 20, ETH = 1, IP = 4, IPV6 = 5, TCP = 6, UDP = 7 };

/* An element a packet; a header; a list. */
#define PACKETS(X)                                                                                                   \
    X(int64_t, offset) X(int64_t, ts) X(uint32_t, cap_len) X(uint32_t, len) X(int32_t, path) X(int32_t, src)         \
    X(int32_t, dst) X(int32_t, srcport) X(int32_t, dstport) X(uint32_t, payload_offset) X(uint32_t, payload_bytes)   \
    X(uint8_t, err_layer) X(uint8_t, err_kind) X(uint32_t, err_need) X(uint32_t, err_have) X(uint8_t, link_kind)     \
    X(int32_t, link_src) X(int32_t, link_dst) X(int32_t, link_type) X(int32_t, vlan) X(uint16_t, link_hdr_bytes)     \
    X(uint32_t, padding)
#define IPS(X)                                                                                                       \
    X(uint32_t, ip_n) X(uint8_t, ip_depth) X(uint8_t, version) X(int32_t, ip_src) X(int32_t, ip_dst)                 \
    X(uint16_t, ip_hdr_len) X(uint8_t, dsfield) X(uint32_t, ip_len) X(uint16_t, ip_id) X(uint8_t, ip_flags)          \
    X(uint32_t, frag_offset) X(uint8_t, ttl) X(uint8_t, proto) X(uint16_t, ip_checksum) X(uint8_t, ip_status)        \
    X(uint32_t, flow_label) X(uint32_t, ip_payload) X(uint8_t, ip_quoted) X(int32_t, ip_options)                     \
    X(int32_t, extensions)
#define TCPS(X)                                                                                                      \
    X(uint32_t, tcp_n) X(uint8_t, tcp_depth) X(uint16_t, tcp_srcport) X(uint16_t, tcp_dstport) X(uint32_t, seq)      \
    X(uint32_t, ack) X(uint8_t, hdr_len) X(uint16_t, flags) X(uint16_t, window) X(uint16_t, checksum)                \
    X(uint16_t, urgent) X(int64_t, tcp_len) X(uint32_t, tcp_payload_offset) X(uint8_t, tcp_quoted) X(uint8_t, has)   \
    X(uint16_t, mss) X(uint8_t, wscale) X(uint32_t, tsval) X(uint32_t, tsecr) X(uint8_t, cookie) X(uint8_t, key)     \
    X(uint8_t, next_key) X(int32_t, kinds) X(int32_t, sacks) X(int32_t, subtypes)
#define UDPS(X)                                                                                                      \
    X(uint32_t, udp_n) X(uint8_t, udp_depth) X(uint16_t, udp_srcport) X(uint16_t, udp_dstport)                       \
    X(uint16_t, udp_length) X(uint16_t, udp_checksum) X(uint32_t, udp_payload_offset) X(uint32_t, udp_payload)       \
    X(uint8_t, udp_quoted)

#define DECLARE(type, name) static type name[BATCH + 1];
PACKETS(DECLARE) IPS(DECLARE) TCPS(DECLARE) UDPS(DECLARE)
static uint8_t kind_values[40 * BATCH], option_values[40 * BATCH], subtype_values[13 * BATCH];
static uint32_t left[4 * BATCH], right[4 * BATCH];

/* Addresses and paths as numbers, in order of appearance. */
static struct { uint64_t high, low; uint64_t family; } names[NAMES / 2];
static int32_t slots[NAMES];
static int32_t name_count;
static uint64_t known_paths[64];
static int path_count;

static inline uint16_t be16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline uint32_t be32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static inline int32_t number_of(uint64_t high, uint64_t low, uint64_t family) {
    uint64_t h = low * 0x9E3779B97F4A7C15ull + (high ^ family) * 0xC2B2AE3D27D4EB4Full;
    uint32_t at = (h ^ h >> 32) & (NAMES - 1);
    for (; slots[at]; at = (at + 1) & (NAMES - 1)) {
        int32_t n = slots[at] - 1;
        if (names[n].low == low && names[n].high == high && names[n].family == family) return n;
    }
    names[name_count].high = high; names[name_count].low = low; names[name_count].family = family;
    slots[at] = ++name_count;
    return name_count - 1;
}

static inline int32_t path_of(uint64_t layers) {
    static uint64_t last; static int32_t number;
    if (layers == last) return number;
    last = layers;
    for (number = 0; number < path_count; number++)
        if (known_paths[number] == layers) return number;
    known_paths[path_count++] = layers;
    return number;
}

static inline int sum_is_right(const uint8_t *p, int size) {
    uint64_t sum = 0;
    for (int k = 0; k < size; k += 4) sum += le32(p + k);
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return sum == 0xFFFF;
}

static inline void options(const uint8_t *o, const uint8_t *end, int row) {
    int kind_count = kinds[row], sack_count = sacks[row], subtype_count = subtypes[row];
    uint8_t found = 0;
    mss[row] = 0; wscale[row] = 0; tsval[row] = tsecr[row] = 0; cookie[row] = key[row] = next_key[row] = 0;
    while (o < end) {
        uint8_t kind = *o;
        if (kind <= 1) {
            kind_values[kind_count++] = kind;
            o++;
            if (kind == 0 && o < end && *o) break;
            continue;
        }
        if (o + 2 > end || o[1] < 2 || o + o[1] > end) break;
        uint8_t size = o[1];
        kind_values[kind_count++] = kind;
        if (kind == 8 && size == 10 && !(found & 8)) { found |= 8; tsval[row] = be32(o + 2); tsecr[row] = be32(o + 6); }
        else if (kind == 5 && size >= 10 && size % 8 == 2) {
            for (const uint8_t *b = o + 2; b < o + size; b += 8) {
                left[sack_count] = be32(b); right[sack_count++] = be32(b + 4);
            }
        }
        else if (kind == 2 && size == 4 && !(found & 1)) { found |= 1; mss[row] = be16(o + 2); }
        else if (kind == 3 && size == 3 && !(found & 2)) { found |= 2; wscale[row] = o[2]; }
        else if (kind == 4 && size == 2) found |= 4;
        else if (kind == 30 && size >= 3) subtype_values[subtype_count++] = o[2] >> 4;
        else if (kind == 34 && !(found & 16)) { found |= 16; cookie[row] = size - 2; }
        else if (kind == 29 && size >= 4 && !(found & 32)) { found |= 32; key[row] = o[2]; next_key[row] = o[3]; }
        o += size;
    }
    has[row] = found;
    kinds[row + 1] = kind_count; sacks[row + 1] = sack_count; subtypes[row + 1] = subtype_count;
}

static int ip_rows, tcp_rows, udp_rows;

static void packet(const uint8_t *p, uint32_t captured, uint32_t original, int i, uint32_t n) {
    const uint8_t *end = p + captured, *wire = p + (original > captured ? original : captured), *q = p + 14;
    uint64_t layers = ETH;
    src[i] = dst[i] = srcport[i] = dstport[i] = vlan[i] = -1;
    err_layer[i] = err_kind[i] = 0; err_need[i] = err_have[i] = 0; padding[i] = 0;
    if (captured < 14) return;
    uint16_t type = be16(p + 12);
    while (type == 0x8100 && q + 4 <= end) {
        if (vlan[i] < 0) vlan[i] = be16(q);
        type = be16(q + 2); q += 4; layers = layers << 6 | 2;
    }
    link_kind[i] = ETH; link_type[i] = type; link_hdr_bytes[i] = q - p;
    const uint8_t *transport = NULL;
    int row = ip_rows;
    if (type == 0x0800 && q + 20 <= end) {
        uint32_t size = (q[0] & 15) * 4, where = be16(q + 6), total = be16(q + 2);
        ip_rows++;
        version[row] = 4; ip_hdr_len[row] = size; dsfield[row] = q[1]; ip_len[row] = total; ip_id[row] = be16(q + 4);
        ip_flags[row] = where >> 13; frag_offset[row] = (where & 0x1FFF) * 8; ttl[row] = q[8]; proto[row] = q[9];
        ip_checksum[row] = be16(q + 10); flow_label[row] = 0; extensions[row + 1] = extensions[row];
        ip_src[row] = number_of(0, be32(q + 12), 4); ip_dst[row] = number_of(0, be32(q + 16), 4);
        ip_status[row] = q + size <= end ? sum_is_right(q, size) : 2;
        int count = ip_options[row];
        for (const uint8_t *o = q + 20; o < q + size && o < end; o += *o < 2 ? 1 : o[1] < 2 ? size : o[1]) {
            option_values[count++] = *o;
            if (*o == 0) break;
        }
        ip_options[row + 1] = count;
        if (total && q + total < wire) wire = q + total;
        layers = layers << 6 | IP;
        transport = q + size;
    } else if (type == 0x86DD && q + 40 <= end) {
        uint32_t word = be32(q), size = be16(q + 4);
        ip_rows++;
        version[row] = 6; ip_hdr_len[row] = 40; dsfield[row] = word >> 20; flow_label[row] = word & 0xFFFFF;
        ip_len[row] = size; proto[row] = q[6]; ttl[row] = q[7]; ip_id[row] = 0; ip_flags[row] = 0;
        frag_offset[row] = 0; ip_checksum[row] = 0; ip_status[row] = 2;
        ip_src[row] = number_of(be64(q + 8), be64(q + 16), 6); ip_dst[row] = number_of(be64(q + 24), be64(q + 32), 6);
        ip_options[row + 1] = ip_options[row]; extensions[row + 1] = extensions[row];
        if (q + 40 + size < wire) wire = q + 40 + size;
        layers = layers << 6 | IPV6;
        transport = q + 40;
    }
    link_src[i] = 0; link_dst[i] = 0;
    if (transport) {
        ip_n[row] = n; ip_depth[row] = 0; ip_quoted[row] = 0; ip_payload[row] = wire - transport;
        src[i] = ip_src[row]; dst[i] = ip_dst[row];
        if (end > wire) { padding[i] = end - wire; end = wire; }
    }
    link_dst[i] = number_of(0, be64(p) >> 16, 48);
    link_src[i] = number_of(0, be64(p + 6) >> 16, 48);
    const uint8_t *body = transport ? transport : q;
    if (transport && proto[row] == 6 && transport + 20 <= end) {
        uint32_t word = be16(transport + 12), size = (word >> 12) * 4;
        int t = tcp_rows++;
        tcp_n[t] = n; tcp_depth[t] = 0; tcp_quoted[t] = 0;
        tcp_srcport[t] = srcport[i] = be16(transport); tcp_dstport[t] = dstport[i] = be16(transport + 2);
        seq[t] = be32(transport + 4); ack[t] = be32(transport + 8); hdr_len[t] = size; flags[t] = word & 0xFFF;
        window[t] = be16(transport + 14); checksum[t] = be16(transport + 16); urgent[t] = be16(transport + 18);
        tcp_len[t] = wire - transport - size; tcp_payload_offset[t] = transport + size - p;
        options(transport + 20, transport + size < end ? transport + size : end, t);
        layers = layers << 6 | TCP;
        body = transport + size;
    } else if (transport && proto[row] == 17 && transport + 8 <= end) {
        int u = udp_rows++;
        uint32_t size = be16(transport + 4);
        udp_n[u] = n; udp_depth[u] = 0; udp_quoted[u] = 0;
        udp_srcport[u] = srcport[i] = be16(transport); udp_dstport[u] = dstport[i] = be16(transport + 2);
        udp_length[u] = size; udp_checksum[u] = be16(transport + 6);
        udp_payload_offset[u] = transport + 8 - p; udp_payload[u] = size > 8 ? size - 8 : 0;
        layers = layers << 6 | UDP;
        body = transport + 8;
    }
    path[i] = path_of(layers);
    payload_offset[i] = body - p; payload_bytes[i] = wire > body ? wire - body : 0;
}

static const char *folder;

static void append(const char *name, const void *from, size_t size) {
    char place[4096];
    snprintf(place, sizeof place, "%s/%s", folder, name);
    FILE *file = fopen(place, "ab");
    if (!file || fwrite(from, 1, size, file) != size || fclose(file)) exit(2);
}

static void finish(int packets) {
    if (!folder) return;
#define DUMP_PACKETS(type, name) append(#name, name, packets * sizeof(type));
#define DUMP_IPS(type, name) append(#name, name, ip_rows * sizeof(type));
#define DUMP_TCPS(type, name) append(#name, name, tcp_rows * sizeof(type));
#define DUMP_UDPS(type, name) append(#name, name, udp_rows * sizeof(type));
    PACKETS(DUMP_PACKETS) IPS(DUMP_IPS) TCPS(DUMP_TCPS) UDPS(DUMP_UDPS)
    append("kind_values", kind_values, kinds[tcp_rows]);
    append("left", left, 4 * sacks[tcp_rows]);
    append("right", right, 4 * sacks[tcp_rows]);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    static uint8_t data[BLOCK];
    if (argc < 3) return 2;
    folder = argc > 3 ? argv[3] : NULL;
    for (int round = 0; round < atoi(argv[2]); round++) {
        int file = open(argv[1], O_RDONLY), i = 0;
        size_t at = 24, have = 0;
        uint32_t n = 0;
        ssize_t count;
        double spent = 0, started = now();
        ip_rows = tcp_rows = udp_rows = 0;
        while ((count = read(file, data + have, sizeof data - have)) > 0) {
            double begin = now();
            have += count;
            while (at + 16 <= have) {
                const uint8_t *record = data + at;
                uint32_t captured = le32(record + 8);
                if (at + 16 + captured > have) break;
                __builtin_prefetch(record + 16 + captured + 1024);
                offset[i] = at + 16;
                ts[i] = le32(record) * 1000000000ll + le32(record + 4);
                cap_len[i] = captured; len[i] = le32(record + 12);
                packet(record + 16, captured, len[i], i, ++n);
                if (++i == BATCH) { finish(i); i = ip_rows = tcp_rows = udp_rows = 0; }
                at += 16 + captured;
            }
            spent += now() - begin;
            memmove(data, data + at, have - at);
            have -= at; at = 0;
        }
        finish(i);
        printf("%.4f %.4f\n", spent, now() - started);
        close(file);
    }
    return 0;
}
