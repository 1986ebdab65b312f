/*
 * The measures: one small function each, one row each. Definitions are trec_eval 9.0's (Buckley), with its treatment of
 * the odd cases: nothing relevant gives 0; precision divides by the cutoff even when fewer were returned; gains are the
 * grades themselves; sums run in the order of ranks.
 */
#include "eval_int.h"
#include <math.h>

/* Relevant ones among the first k. */
static size_t rel_within(const struct ranking *r, double k)
{
    size_t n = 0;
    while (n < r->n_rel_ret && r->rel_ranks[n] < k)
        n++;
    return n;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0.0;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* ---- sets and cutoffs ---- */

static double num_ret(const struct ranking *r, double k)
{
    (void)k;
    return (double)r->n_ret;
}

static double num_rel(const struct ranking *r, double k)
{
    (void)k;
    return (double)r->n_rel;
}

static double num_rel_ret(const struct ranking *r, double k)
{
    (void)k;
    return (double)r->n_rel_ret;
}

static double num_nonrel_judged_ret(const struct ranking *r, double k)
{
    (void)k;
    return (double)r->n_nonrel_ret;
}

static double precision(const struct ranking *r, double k)
{
    return (double)rel_within(r, k) / k;
}

static double recall(const struct ranking *r, double k)
{
    return ratio((double)rel_within(r, k), (double)r->n_rel);
}

/* Precision as a share of the best that was possible. */
static double relative_precision(const struct ranking *r, double k)
{
    return ratio((double)rel_within(r, k), least(k, (double)r->n_rel));
}

static double success(const struct ranking *r, double k)
{
    return rel_within(r, k) > 0;
}

static double judged(const struct ranking *r, double k)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_judged && r->judged[i].rank < k; i++)
        n += r->judged[i].grade >= 0;
    return (double)n / k;
}

static double set_precision(const struct ranking *r, double k)
{
    (void)k;
    return ratio((double)r->n_rel_ret, (double)r->n_ret);
}

static double set_recall(const struct ranking *r, double k)
{
    (void)k;
    return ratio((double)r->n_rel_ret, (double)r->n_rel);
}

static double set_relative_precision(const struct ranking *r, double k)
{
    (void)k;
    return ratio((double)r->n_rel_ret, least((double)r->n_ret, (double)r->n_rel));
}

static double set_map(const struct ranking *r, double k)
{
    (void)k;
    return ratio((double)r->n_rel_ret * (double)r->n_rel_ret, (double)r->n_ret * (double)r->n_rel);
}

/* Harmonic mean of precision and recall. */
static double set_f(const struct ranking *r, double k)
{
    double P = set_precision(r, k), R = set_recall(r, k);
    return ratio(2.0 * P * R, P + R);
}

static double utility(const struct ranking *r, double k)
{
    (void)k;
    return (double)r->n_rel_ret - (double)(r->n_ret - r->n_rel_ret);
}

/* ---- precision at relevant documents ---- */

static double average_precision_cut(const struct ranking *r, double k)
{
    double sum = 0.0;
    for (size_t i = 0; i < r->n_rel_ret && r->rel_ranks[i] < k; i++)
        sum += (double)(i + 1) / (double)(r->rel_ranks[i] + 1);
    return ratio(sum, (double)r->n_rel);
}

static double average_precision(const struct ranking *r, double k)
{
    (void)k;
    return average_precision_cut(r, INFINITY);
}

static double reciprocal_rank_cut(const struct ranking *r, double k)
{
    return r->n_rel_ret && r->rel_ranks[0] < k ? 1.0 / (double)(r->rel_ranks[0] + 1) : 0.0;
}

static double reciprocal_rank(const struct ranking *r, double k)
{
    (void)k;
    return reciprocal_rank_cut(r, INFINITY);
}

static double r_precision(const struct ranking *r, double k)
{
    (void)k;
    return r->n_rel ? precision(r, (double)r->n_rel) : 0.0;
}

/* Precision at a multiple of the number of relevant documents, rounded nearly up. */
static double r_precision_multiple(const struct ranking *r, double multiple)
{
    double k = floor(multiple * (double)r->n_rel + 0.9);
    return k > 0 ? precision(r, k) : 0.0;
}

/* Best precision at or behind the place where this share of the relevant documents has been seen. */
static double interpolated_precision(const struct ranking *r, double share)
{
    size_t wanted = (size_t)(share * (double)r->n_rel + 0.9);
    double best = 0.0;
    for (size_t i = wanted ? wanted - 1 : 0; i < r->n_rel_ret; i++)
        best = fmax(best, (double)(i + 1) / (double)(r->rel_ranks[i] + 1));
    return best;
}

static double eleven_point_average(const struct ranking *r, double k)
{
    double sum = 0.0;
    (void)k;
    for (int i = 10; i >= 0; i--)
        sum += interpolated_precision(r, (double)i / 10.0);
    return sum / 11.0;
}

/* ---- incomplete judgements ---- */

/* Buckley and Voorhees 2004: of the judged non-relevant documents, how few stand before each relevant one. */
static double binary_preference(const struct ranking *r, double k)
{
    size_t nonrel = 0;
    double sum = 0.0, most = least((double)r->n_nonrel, (double)r->n_rel);
    (void)k;
    for (size_t i = 0; i < r->n_judged; i++) {
        int32_t grade = r->judged[i].grade;
        if (grade >= r->relevance)
            sum += nonrel ? 1.0 - least((double)nonrel, (double)r->n_rel) / most : 1.0;
        else
            nonrel += grade >= 0;
    }
    return ratio(sum, (double)r->n_rel);
}

/* Yilmaz and Aslam 2006: average precision expected from a sample of judgements. */
static double inferred_average_precision(const struct ranking *r, double k)
{
    const double epsilon = 1e-5;
    double rel = 0, nonrel = 0, pooled = 0, sum = 0.0;
    (void)k;
    for (size_t i = 0; i < r->n_judged; i++) {
        double rank = r->judged[i].rank;
        int32_t grade = r->judged[i].grade;
        if (grade < 0) {
            pooled++;
        } else if (grade < r->relevance) {
            nonrel++;
        } else {
            double before = rel++;
            if (rank == 0)
                sum += 1.0;
            else
                sum += 1.0 / (rank + 1.0) + (rank / (rank + 1.0)) * ((before + nonrel + pooled) / rank) *
                                                ((before + epsilon) / (before + nonrel + 2 * epsilon));
        }
    }
    return r->n_rel ? sum / (double)r->n_rel : sum;
}

/* ---- gains ---- */

/* Discounted gain of the first k (Jarvelin and Kekalainen 2002). */
static double dcg(const struct ranking *r, double k)
{
    double sum = 0.0;
    for (size_t i = 0; i < r->n_judged && r->judged[i].rank < k; i++)
        if (r->judged[i].grade > 0)
            sum += (double)r->judged[i].grade / r->log2s[r->judged[i].rank + 2];
    return sum;
}

static double ndcg_cut(const struct ranking *r, double k)
{
    size_t n = k < (double)r->n_ideal ? (size_t)k : r->n_ideal;
    return ratio(dcg(r, k), r->ideal_dcg[n]);
}

static double ndcg(const struct ranking *r, double k)
{
    (void)k;
    return ndcg_cut(r, INFINITY);
}

/* Mean of nDCG at the places of the retrieved relevant documents; those missing count with the nDCG of the end. */
static double ndcg_rel(const struct ranking *r, double k)
{
    double gain = 0.0, sum = 0.0;
    size_t n_ret = 0;
    (void)k;
    for (size_t i = 0; i < r->n_judged; i++) {
        size_t rank = r->judged[i].rank;
        if (r->judged[i].grade <= 0)
            continue;
        gain += (double)r->judged[i].grade / r->log2s[rank + 2];
        sum += gain / r->ideal_dcg[rank + 1 < r->n_ideal ? rank + 1 : r->n_ideal];
        n_ret++;
    }
    if (r->n_ideal)
        sum += (double)(r->n_ideal - n_ret) * gain / r->ideal_dcg[r->n_ideal];
    return ratio(sum, (double)r->n_ideal);
}

/* Mean of nDCG at the places where the ideal gain steps down, and at the end of what was retrieved. */
static double ndcg_r(const struct ranking *r, double k)
{
    double sum = 0.0;
    size_t points = 0;
    (void)k;
    if (r->n_rel == 0)
        return 0.0;
    for (size_t i = 1; i <= r->n_ideal; i++)
        if (i == r->n_ideal || r->ideal[i] != r->ideal[i - 1]) {
            sum += dcg(r, (double)i) / r->ideal_dcg[i];
            points++;
        }
    if (r->n_ret > r->n_ideal + 1) {
        sum += dcg(r, INFINITY) / r->ideal_dcg[r->n_ideal];
        points++;
    }
    return ratio(sum, (double)points);
}

/* Gain discounted by how much more gain an ideal ranking would have given so far. */
static double normalised_gain(const struct ranking *r, double k)
{
    double sum = 0.0, had = 0.0;
    (void)k;
    for (size_t i = 0; i < r->n_judged; i++) {
        size_t seen = (size_t)r->judged[i].rank + 1, ideal = seen < r->n_ideal ? seen : r->n_ideal;
        double gain = r->judged[i].grade;
        if (gain <= 0)
            continue;
        had += gain;
        sum += gain / log2(2.0 + r->ideal_cost[ideal] + (double)(seen - ideal) - had);
    }
    return ratio(sum, r->ideal_cost[r->n_ideal]);
}

static double binary_gain(const struct ranking *r, double k)
{
    double sum = 0.0;
    (void)k;
    for (size_t i = 0; i < r->n_rel_ret; i++)
        sum += 1.0 / r->log2s[2 + r->rel_ranks[i] - i];
    return ratio(sum, (double)r->n_rel);
}

/* ---- geometric means are taken over logarithms ---- */

static double log_average_precision(const struct ranking *r, double k)
{
    return log(fmax(average_precision(r, k), LEAST_GEOMETRIC));
}

static double log_binary_preference(const struct ranking *r, double k)
{
    return log(fmax(binary_preference(r, k), LEAST_GEOMETRIC));
}

/* ---- the table ---- */

static const double usual[] = {5, 10, 15, 20, 30, 100, 200, 500, 1000};
static const double usual_precision[] = {1, 5, 10, 15, 20, 30, 100, 200, 500, 1000};
static const double usual_ndcg[] = {1, 3, 5, 10, 15, 20, 30, 100, 200, 500, 1000};
static const double usual_success[] = {1, 5, 10};
static const double usual_rr[] = {10};
static const double tenths[] = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0};
static const double fifths[] = {0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0};

#define CUTS(list) PARAMETER_CUTOFF, list, sizeof(list) / sizeof *(list)
#define SHARES(list) PARAMETER_FRACTION, list, sizeof(list) / sizeof *(list)
#define PLAIN PARAMETER_NONE, NULL, 0
#define MEAN AGGREGATE_MEAN
#define SUM AGGREGATE_SUM

const struct measure_family measure_families[] = {
    {"num_q", NULL, PLAIN, AGGREGATE_QUERIES, true, false, "queries"},
    {"num_ret", num_ret, PLAIN, SUM, true, false, "hits"},
    {"num_rel", num_rel, PLAIN, SUM, true, false, "relevant documents"},
    {"num_rel_ret", num_rel_ret, PLAIN, SUM, true, false, "relevant hits"},
    {"num_nonrel_judged_ret", num_nonrel_judged_ret, PLAIN, SUM, false, false, "hits judged not relevant"},
    {"map", average_precision, PLAIN, MEAN, true, false, "average precision"},
    {"gm_map", log_average_precision, PLAIN, AGGREGATE_GEOMETRIC, true, false, "average precision, geometric mean"},
    {"Rprec", r_precision, PLAIN, MEAN, true, false, "precision at the number of relevant documents"},
    {"bpref", binary_preference, PLAIN, MEAN, true, false, "binary preference"},
    {"gm_bpref", log_binary_preference, PLAIN, AGGREGATE_GEOMETRIC, false, false, "binary preference, geometric mean"},
    {"recip_rank", reciprocal_rank, PLAIN, MEAN, true, false, "reciprocal rank of the first relevant hit"},
    {"recip_rank_cut", reciprocal_rank_cut, CUTS(usual_rr), MEAN, false, true, "reciprocal rank, 0 beyond the cutoff"},
    {"iprec_at_recall", interpolated_precision, SHARES(tenths), MEAN, true, false, "interpolated precision at recall"},
    {"11pt_avg", eleven_point_average, PLAIN, MEAN, false, false, "interpolated precision, mean of 11 points"},
    {"P", precision, CUTS(usual_precision), MEAN, true, false, "precision"},
    {"relative_P", relative_precision, CUTS(usual), MEAN, false, false, "precision relative to the best possible"},
    {"recall", recall, CUTS(usual), MEAN, false, false, "recall"},
    {"infAP", inferred_average_precision, PLAIN, MEAN, false, false, "inferred average precision"},
    {"map_cut", average_precision_cut, CUTS(usual), MEAN, false, false, "average precision up to the cutoff"},
    {"ndcg", ndcg, PLAIN, MEAN, false, false, "normalised discounted cumulative gain"},
    {"ndcg_cut", ndcg_cut, CUTS(usual_ndcg), MEAN, false, false, "nDCG up to the cutoff"},
    {"ndcg_rel", ndcg_rel, PLAIN, MEAN, false, false, "nDCG averaged over relevant documents"},
    {"Rndcg", ndcg_r, PLAIN, MEAN, false, false, "nDCG averaged over the steps of the ideal gain"},
    {"G", normalised_gain, PLAIN, MEAN, false, false, "normalised gain"},
    {"binG", binary_gain, PLAIN, MEAN, false, false, "normalised gain of binary judgements"},
    {"success", success, CUTS(usual_success), MEAN, false, false, "is there a relevant hit up to the cutoff"},
    {"Rprec_mult", r_precision_multiple, SHARES(fifths), MEAN, false, false,
     "precision at multiples of relevant documents"},
    {"set_P", set_precision, PLAIN, MEAN, false, false, "precision of all hits"},
    {"set_relative_P", set_relative_precision, PLAIN, MEAN, false, false,
     "precision of all hits relative to the best possible"},
    {"set_recall", set_recall, PLAIN, MEAN, false, false, "recall of all hits"},
    {"set_map", set_map, PLAIN, MEAN, false, false, "precision times recall of all hits"},
    {"set_F", set_f, PLAIN, MEAN, false, false, "harmonic mean of precision and recall of all hits"},
    {"utility", utility, PLAIN, MEAN, false, false, "relevant minus other hits"},
    {"judged", judged, CUTS(usual_rr), MEAN, false, true, "share of hits up to the cutoff that are judged"},
};
const size_t n_measure_families = sizeof measure_families / sizeof *measure_families;
