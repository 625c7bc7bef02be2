#include "agent/enforce/exceptions.h"

#include "common/cleanup.h"
#include "policy/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_address(const char *text, struct enforce_exception *x, struct error *err)
{
    memset(x->addr, 0, 16);
    if (inet_pton(AF_INET, text, x->addr + 12) == 1)
        x->addr[10] = x->addr[11] = 0xff;
    else if (inet_pton(AF_INET6, text, x->addr) != 1)
        return error_set(err, -EINVAL, "'%.60s' is no address", text);
    for (size_t i = 0; i < guard_n_rows; i++) {
        const struct guard_row *row = &guard_rows[i];

        if (row->action == GUARD_DENY && row->cidr.prefix == 128 &&
            !memcmp(row->cidr.addr, x->addr, 16))
            return 0;
    }
    return error_set(err, -EINVAL, "%.60s is not guarded: there is nothing to except", text);
}

static int parse_protocol(const char *text, struct enforce_exception *x, struct error *err)
{
    static const struct {
        const char *name;
        uint8_t number;
    } known[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!strcmp(text, known[i].name)) {
            x->protocol = known[i].number;
            return 0;
        }
    }
    return error_set(err, -EINVAL, "protocol '%.20s' is none of tcp, udp, sctp", text);
}

static int parse_ports(const char *text, struct enforce_exception *x, struct error *err)
{
    char *end;
    unsigned long from = strtoul(text, &end, 10), to = from;

    if (end != text && *end == '-' && end[1] >= '0' && end[1] <= '9')
        to = strtoul(end + 1, &end, 10);
    if (end == text || *end || *text < '0' || *text > '9' || from < 1 || to > 65535 || from > to)
        return error_set(err, -EINVAL, "ports '%.30s': not PORT or PORT-PORT of 1 to 65535", text);
    x->from = (uint16_t)from;
    x->to = (uint16_t)to;
    return 0;
}

static int parse_list(const char *text, bool accounts, char ret[EXCEPTION_FOR_MAX],
                      struct error *err)
{
    size_t n = strlen(text);

    if (*ret)
        return error_set(err, -EINVAL, "given twice");
    if (!n || n > EXCEPTION_FOR_MAX - 3 || *text == ',' || text[n - 1] == ',' || strstr(text, ",,"))
        return error_set(err, -EINVAL, "'%.60s' is no list", text);
    for (const char *s = text; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
        size_t length = strcspn(s, ",");
        bool slash = memchr(s, '/', length) != NULL;

        if (slash != accounts)
            return error_set(err, -EINVAL, "'%.*s' is no %s", (int)length, s,
                             accounts ? "NAMESPACE/ACCOUNT" : "namespace");
    }
    (void)snprintf(ret, EXCEPTION_FOR_MAX, ",%s,", text);
    return 0;
}

static int parse_word(const char *word, struct enforce_exception *x, struct error *err)
{
    if (!strcmp(word, "all"))
        x->all = true;
    else if (!strcmp(word, "on-request"))
        x->on_request = true;
    else if (!strncmp(word, "namespaces=", 11))
        return parse_list(word + 11, false, x->namespaces, err);
    else if (!strncmp(word, "accounts=", 9))
        return parse_list(word + 9, true, x->accounts, err);
    else
        return error_set(err, -EINVAL, "'%.60s' is not known", word);
    return 0;
}

static int parse_entry(char *line, struct enforce_exception *x, struct error *err)
{
    char *save = NULL, *words[4], *word;
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        words[i] = strtok_r(i ? NULL : line, " \t\r", &save);
        if (!words[i])
            return error_set(err, -EINVAL, "not NAME ADDRESS PROTOCOL PORT[-PORT] FOR");
    }
    if (strlen(words[0]) >= EXCEPTION_NAME_MAX || strchr(words[0], ','))
        return error_set(err, -EINVAL, "'%.70s' is no name", words[0]);
    (void)snprintf(x->name, sizeof(x->name), "%s", words[0]);
    r = parse_address(words[1], x, err);
    if (r == 0)
        r = parse_protocol(words[2], x, err);
    if (r == 0)
        r = parse_ports(words[3], x, err);
    while (r == 0 && (word = strtok_r(NULL, " \t\r", &save)))
        r = parse_word(word, x, err);
    if (r < 0)
        return r;
    if (x->all == (*x->namespaces || *x->accounts))
        return error_set(err, -EINVAL, "for whom? either all, or namespaces= and accounts=");
    return 0;
}

static int check_others(const struct enforce_exceptions *all, const struct enforce_exception *x,
                        struct error *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct enforce_exception *o = &all->list[i];

        if (!strcmp(o->name, x->name))
            return error_set(err, -EINVAL, "'%s' is the name of line %u, too", x->name, o->line);
        if (!memcmp(o->addr, x->addr, 16) && o->protocol == x->protocol && o->from <= x->to &&
            x->from <= o->to)
            return error_set(err, -EINVAL, "contradicts line %u: the same ports", o->line);
    }
    return 0;
}

int enforce_exceptions_parse(const char *text, struct enforce_exceptions *ret, struct error *err)
{
    CLEANUP(free_ptr) struct enforce_exceptions *all = calloc(1, sizeof(*all));
    CLEANUP(free_ptr) char *copy = strdup(text);
    unsigned number = 0;

    if (!all || !copy)
        return error_set(err, -ENOMEM, "out of memory");
    for (char *line = copy, *next; line; line = next) {
        struct enforce_exception x = {.line = ++number};
        int r;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "#")] = '\0';
        if (!line[strspn(line, " \t\r")])
            continue;
        r = all->n == EXCEPTIONS_MAX
                ? error_set(err, -EINVAL, "more than %d exceptions", EXCEPTIONS_MAX)
                : parse_entry(line, &x, err);
        if (r == 0)
            r = check_others(all, &x, err);
        if (r < 0) {
            struct error why = *err;

            return error_set(err, -EINVAL, "line %u: %s", number, why.msg);
        }
        all->list[all->n++] = x;
    }
    *ret = *all;
    return 0;
}

static bool in_list(const char *list, const char *name)
{
    char word[300];

    if (strlen(name) > sizeof(word) - 3 || strchr(name, ','))
        return false;
    (void)snprintf(word, sizeof(word), ",%s,", name);
    return strstr(list, word) != NULL;
}

bool enforce_exception_holds(const struct enforce_exception *x, const char *ns, const char *account,
                             const char *asked)
{
    char both[300], list[EXCEPTION_FOR_MAX];

    if (x->on_request) {
        if (!asked || strlen(asked) > sizeof(list) - 3)
            return false;
        (void)snprintf(list, sizeof(list), ",%s,", asked);
        if (!in_list(list, x->name))
            return false;
    }
    (void)snprintf(both, sizeof(both), "%.120s/%.150s", ns, account);
    return x->all || in_list(x->namespaces, ns) || in_list(x->accounts, both);
}
