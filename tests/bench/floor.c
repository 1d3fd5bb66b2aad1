/* A pcap file's common headers into arrays, and nothing else: what a C program needs for it at least.
 *
 *     cc -O3 -march=native -o floor tests/bench/floor.c && ./floor FILE ROUNDS
 *
 * Prints seconds of each round. Ethernet (VLAN), IPv4 and IPv6, TCP with its options, UDP: 43 arrays of as many packets
 * as one batch of the decoder holds, which stay in the cache. It numbers no addresses, checks little, knows no tunnels,
 * fragments, errors, other links or byte orders: less than pcaptool.decode's kernels do.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 16160, BLOCK = 8 << 20 };

#define COLUMNS(X)                                                                                                   \
    X(int64_t, ts) X(uint32_t, cap_len) X(uint32_t, len) X(uint64_t, link_src) X(uint64_t, link_dst)                 \
    X(uint16_t, link_type) X(uint16_t, vlan) X(uint8_t, version) X(uint64_t, src_high) X(uint64_t, src)              \
    X(uint64_t, dst_high) X(uint64_t, dst) X(uint8_t, ip_hdr_len) X(uint8_t, dsfield) X(uint32_t, ip_len)            \
    X(uint16_t, id) X(uint8_t, ip_flags) X(uint16_t, frag_offset) X(uint8_t, ttl) X(uint8_t, proto)                  \
    X(uint16_t, ip_checksum) X(uint32_t, flow_label) X(uint32_t, ip_payload) X(uint16_t, srcport)                    \
    X(uint16_t, dstport) X(uint32_t, seq) X(uint32_t, ack) X(uint8_t, hdr_len) X(uint16_t, flags)                    \
    X(uint16_t, window) X(uint16_t, checksum) X(uint16_t, urgent) X(int64_t, payload) X(uint32_t, payload_offset)    \
    X(uint8_t, has) X(uint16_t, mss) X(uint8_t, wscale) X(uint32_t, tsval) X(uint32_t, tsecr) X(uint8_t, blocks)     \
    X(uint32_t, left) X(uint32_t, right) X(uint16_t, udp_length)

#define DECLARE(type, name) static type name[BATCH];
COLUMNS(DECLARE)

static inline uint16_t be16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
static inline uint32_t be32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline uint32_t le32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static void options(const uint8_t *o, const uint8_t *end, int i) {
    uint8_t found = 0, scale = 0, count = 0;
    uint16_t segment = 0;
    uint32_t value = 0, echo = 0, first = 0, last = 0;
    while (o < end && *o != 0) {
        if (*o == 1) { o++; continue; }
        if (o + 2 > end || o[1] < 2 || o + o[1] > end) break;
        if (*o == 8 && o[1] == 10) { found |= 8; value = be32(o + 2); echo = be32(o + 6); }
        else if (*o == 2 && o[1] == 4) { found |= 1; segment = be16(o + 2); }
        else if (*o == 3 && o[1] == 3) { found |= 2; scale = o[2]; }
        else if (*o == 4) found |= 4;
        else if (*o == 5 && o[1] >= 10) { count = (o[1] - 2) / 8; first = be32(o + 2); last = be32(o + 6); }
        o += o[1];
    }
    has[i] = found; mss[i] = segment; wscale[i] = scale; tsval[i] = value; tsecr[i] = echo;
    blocks[i] = count; left[i] = first; right[i] = last;
}

static void packet(const uint8_t *p, uint32_t captured, int i) {
    const uint8_t *end = p + captured, *q = p + 14, *transport = NULL, *behind = end;
    uint16_t type = captured >= 14 ? be16(p + 12) : 0;
    link_type[i] = 0; vlan[i] = 0xFFFF; version[i] = proto[i] = has[i] = 0; srcport[i] = dstport[i] = 0;
    if (captured < 14) return;
    link_dst[i] = be64(p) >> 16; link_src[i] = be64(p + 6) >> 16;
    while ((type == 0x8100 || type == 0x88A8) && q + 4 <= end) { vlan[i] = be16(q); type = be16(q + 2); q += 4; }
    link_type[i] = type;
    if (type == 0x0800 && q + 20 <= end) {
        uint32_t size = (q[0] & 15) * 4, fragment = be16(q + 6);
        version[i] = 4; ip_hdr_len[i] = size; dsfield[i] = q[1]; ip_len[i] = be16(q + 2); id[i] = be16(q + 4);
        ip_flags[i] = fragment >> 13; frag_offset[i] = (fragment & 0x1FFF) * 8; ttl[i] = q[8]; proto[i] = q[9];
        ip_checksum[i] = be16(q + 10); src_high[i] = dst_high[i] = 0; src[i] = be32(q + 12); dst[i] = be32(q + 16);
        flow_label[i] = 0; ip_payload[i] = ip_len[i] - size; behind = q + ip_len[i];
        if (size >= 20 && q + size <= end && frag_offset[i] == 0) transport = q + size;
    } else if (type == 0x86DD && q + 40 <= end) {
        uint32_t word = be32(q);
        version[i] = 6; ip_hdr_len[i] = 40; dsfield[i] = word >> 20; flow_label[i] = word & 0xFFFFF;
        ip_payload[i] = be16(q + 4); ip_len[i] = ip_payload[i] + 40; proto[i] = q[6]; ttl[i] = q[7]; id[i] = 0;
        ip_flags[i] = 0; frag_offset[i] = 0; ip_checksum[i] = 0;
        src_high[i] = be64(q + 8); src[i] = be64(q + 16); dst_high[i] = be64(q + 24); dst[i] = be64(q + 32);
        transport = q + 40; behind = transport + ip_payload[i];
    }
    if (transport && proto[i] == 6 && transport + 20 <= end) {
        uint32_t word = be16(transport + 12), size = (word >> 12) * 4;
        const uint8_t *last = transport + size < end ? transport + size : end;
        srcport[i] = be16(transport); dstport[i] = be16(transport + 2); seq[i] = be32(transport + 4);
        ack[i] = be32(transport + 8); hdr_len[i] = size; flags[i] = word & 0xFFF; window[i] = be16(transport + 14);
        checksum[i] = be16(transport + 16); urgent[i] = be16(transport + 18);
        payload[i] = behind - transport - size; payload_offset[i] = transport + size - p;
        options(transport + 20, last, i);
    } else if (transport && proto[i] == 17 && transport + 8 <= end) {
        srcport[i] = be16(transport); dstport[i] = be16(transport + 2); udp_length[i] = be16(transport + 4);
        checksum[i] = be16(transport + 6); payload[i] = udp_length[i] - 8; payload_offset[i] = transport + 8 - p;
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    static uint8_t data[BLOCK];
    if (argc < 3) return 2;
    for (int round = 0; round < atoi(argv[2]); round++) {
        int file = open(argv[1], O_RDONLY), i = 0;
        size_t at = 24, have = 0;
        uint64_t packets = 0, sum = 0;
        ssize_t count;
        double begin = now();
        while ((count = read(file, data + have, sizeof data - have)) > 0) {
            have += count;
            while (at + 16 <= have) {
                const uint8_t *record = data + at;
                uint32_t captured = le32(record + 8);
                if (at + 16 + captured > have) break;
                ts[i] = le32(record) * 1000000000ll + le32(record + 4);
                cap_len[i] = captured; len[i] = le32(record + 12);
                packet(record + 16, captured, i);
                sum += seq[i];
                packets++;
                if (++i == BATCH) i = 0;
                at += 16 + captured;
            }
            memmove(data, data + at, have - at);
            have -= at; at = 0;
        }
        printf("%.4f\n", now() - begin);
        fprintf(stderr, "%lu packets, %lu\n", packets, sum);
        close(file);
    }
    return 0;
}
