package orders

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	tries          = 5
	requestTimeout = 30 * time.Second
	maxRetryDelay  = 10 * time.Second
)

// A Client calls the REST API. All calls can be repeated without a second effect, so they are repeated after a lost
// connection and while a gateway is busy.
type Client struct {
	// URLs are addresses of gateways; default: ORDERS_URL, separated by commas.
	URLs []string
	// Token is an API key or a token; default: ORDERS_TOKEN.
	Token string
	// HTTP is the client for requests; default: http.DefaultClient.
	HTTP *http.Client

	next atomic.Uint32
}

// An Order is an order as the REST API shows it. docs/reference/rest.md describes the fields.
type Order struct {
	ID                string            `json:"id"`
	Kind              string            `json:"kind"`
	Status            string            `json:"status"`
	Sequence          int               `json:"sequence"`
	Attempt           int               `json:"attempt"`
	Failures          int               `json:"failures"`
	Total             json.Number       `json:"total"`
	Currency          string            `json:"currency"`
	Customer          string            `json:"customer"`
	ExternalReference string            `json:"externalReference"`
	Reason            string            `json:"reason"`
	ErrorClass        string            `json:"errorClass"`
	Worker            string            `json:"worker"`
	Metadata          map[string]string `json:"metadata"`
	Result            json.RawMessage   `json:"result"`
	CreatedAt         time.Time         `json:"createdAt"`
	UpdatedAt         time.Time         `json:"updatedAt"`
}

// An Event is a status change of an order.
type Event struct {
	OrderID        string    `json:"orderId"`
	Sequence       int       `json:"sequence"`
	Status         string    `json:"status"`
	PreviousStatus string    `json:"previousStatus"`
	Attempt        int       `json:"attempt"`
	Reason         string    `json:"reason"`
	ErrorClass     string    `json:"errorClass"`
	Worker         string    `json:"worker"`
	OccurredAt     time.Time `json:"occurredAt"`
}

// An APIError is a response with an error. Code is one of the documented error codes, Errors names each invalid value.
type APIError struct {
	Status int             `json:"status"`
	Code   string          `json:"code"`
	Title  string          `json:"title"`
	Detail string          `json:"detail"`
	Errors json.RawMessage `json:"errors"`
}

func (e *APIError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, cmp.Or(e.Detail, e.Title, "no description"))
}

// Create creates an order. A create with the idempotency key of an earlier one returns the order of that one; an empty key
// is replaced by a random one. `order` is JSON or a value that becomes JSON, as docs/guides/create.md describes it.
func (c *Client) Create(ctx context.Context, order any, idempotencyKey string) (*Order, error) {
	header := http.Header{"Idempotency-Key": {cmp.Or(idempotencyKey, rand.Text())}}
	return c.order(ctx, http.MethodPost, "/orders", order, header)
}

// Get returns an order.
func (c *Client) Get(ctx context.Context, id string) (*Order, error) {
	return c.order(ctx, http.MethodGet, "/orders/"+url.PathEscape(id), nil, nil)
}

// Cancel cancels an order, also while it is processing.
func (c *Client) Cancel(ctx context.Context, id, reason string) (*Order, error) {
	body := map[string]string{}
	if reason != "" {
		body["reason"] = reason
	}
	return c.order(ctx, http.MethodPost, "/orders/"+url.PathEscape(id)+"/cancel", body, nil)
}

var nextLink = regexp.MustCompile(`<([^>]*)>; *rel="next"`)

// List returns the orders that match, newest first. docs/guides/lists.md describes the filters.
func (c *Client) List(ctx context.Context, filters url.Values) iter.Seq2[*Order, error] {
	return func(yield func(*Order, error) bool) {
		for path := "/orders?" + filters.Encode(); path != ""; {
			response, err := c.send(ctx, http.MethodGet, path, nil, nil)
			if err != nil {
				yield(nil, err)
				return
			}
			var page []*Order
			err = json.NewDecoder(response.Body).Decode(&page)
			response.Body.Close()
			if err != nil {
				yield(nil, err)
				return
			}
			for _, order := range page {
				if !yield(order, nil) {
					return
				}
			}
			path = ""
			if link := nextLink.FindStringSubmatch(response.Header.Get("Link")); link != nil {
				path = link[1]
			}
		}
	}
}

// Follow returns the events of an order after a sequence, as they happen, up to its final status.
func (c *Client) Follow(ctx context.Context, id string, after int) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			header := http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {strconv.Itoa(after)}}
			response, err := c.send(ctx, http.MethodGet, "/orders/"+url.PathEscape(id)+"/events", nil, header)
			if err != nil {
				yield(nil, err)
				return
			}
			if response.StatusCode == http.StatusNoContent || !follow(response.Body, &after, yield) {
				response.Body.Close()
				return
			}
			response.Body.Close()
			if err := wait(ctx, 500*time.Millisecond); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// follow returns true if the stream has ended before a final status.
func follow(body io.Reader, after *int, yield func(*Event, error) bool) bool {
	for lines := bufio.NewScanner(body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var event Event
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			yield(nil, err)
			return false
		}
		*after = event.Sequence
		if !yield(&event, nil) || slices.Contains([]string{"completed", "failed", "cancelled"}, event.Status) {
			return false
		}
	}
	return true
}

func (c *Client) order(ctx context.Context, method, path string, body any, header http.Header) (*Order, error) {
	ctx, cancel := context.WithTimeout(ctx, tries*requestTimeout)
	defer cancel()
	response, err := c.send(ctx, method, path, body, header)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var order Order
	return &order, json.NewDecoder(response.Body).Decode(&order)
}

// send returns a response without an error. The caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	urls := c.URLs
	if len(urls) == 0 {
		urls = strings.Split(cmp.Or(os.Getenv("ORDERS_URL"), "http://127.0.0.1:3000"), ",")
	}
	for tried := 1; ; tried++ {
		base := strings.TrimRight(strings.TrimSpace(urls[int(c.next.Load())%len(urls)]), "/")
		request, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		for name, values := range header {
			request.Header[name] = values
		}
		request.Header.Set("Content-Type", "application/json")
		if token := cmp.Or(c.Token, os.Getenv("ORDERS_TOKEN")); token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := cmp.Or(c.HTTP, http.DefaultClient).Do(request)
		delay := time.Duration(tried) * 200 * time.Millisecond
		if err == nil {
			if response.StatusCode < 300 {
				return response, nil
			}
			problem := &APIError{}
			_ = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(problem)
			response.Body.Close()
			problem.Status = response.StatusCode
			err = problem
			if !slices.Contains([]int{429, 502, 503, 504}, response.StatusCode) {
				return nil, err
			}
			if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
				delay = time.Duration(seconds) * time.Second
			}
		}
		if tried == tries || ctx.Err() != nil {
			return nil, err
		}
		// Another gateway may answer.
		c.next.Add(1)
		if err := wait(ctx, min(delay, maxRetryDelay)); err != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, delay time.Duration) error {
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
