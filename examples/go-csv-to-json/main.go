// A compiled function: CSV in, a JSON object per row out, with the first row's cells as names.
package main

import (
	"encoding/csv"
	"fmt"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	CSV string `json:"csv"`
}

func handle(e event) ([]map[string]string, error) {
	rows, err := csv.NewReader(strings.NewReader(e.CSV)).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the event's csv has no row with names")
	}
	objects := make([]map[string]string, 0, len(rows)-1)
	for _, row := range rows[1:] {
		object := make(map[string]string, len(row))
		for i, cell := range row {
			object[rows[0][i]] = cell
		}
		objects = append(objects, object)
	}
	fmt.Printf("%d rows\n", len(objects))
	return objects, nil
}

func main() {
	lambda.Start(handle)
}
